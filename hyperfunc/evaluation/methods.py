"""The methods that a table compares: functions that enlarge an image to a given size.

The runs of networks that are trained to be compared with are loaded here, for restoration too.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.experiment import Model, load_model
from hyperfunc.function import predict
from hyperfunc.images import to_uint8
from hyperfunc.networks import SRCNN, DnCNN, ModelProtocol, RDNUpscaler
from hyperfunc.pixels import imresize
from hyperfunc.types import HostImage, Size
from hyperfunc.upscaling import Upscaler

Method = Callable[[HostImage, Size], HostImage]
"""From a low-resolution image and a size (height, width) to an image of that size."""

BASELINES = {"srcnn": SRCNN, "rdn": RDNUpscaler}
"""Networks that enlarge, and are trained for one scale, by the name of their preset."""

METHODS = ("bicubic", *BASELINES, "hyperfunc", "hyperfunc+")
"""All names that `load_methods` knows."""


def load_methods(
    names: Sequence[str], *, checkpoint: str, baselines: Mapping[str, Path | None]
) -> tuple[dict[str, Method], dict[str, Model]]:
    """Load methods, some of `METHODS`, and the models of those that have one, by name.

    ``hyperfunc`` is the model at ``checkpoint``, ``hyperfunc+`` with `self_ensemble`. The baselines
    are the training runs of `BASELINES`, as far as there are some.

    Raises:
        UserError: there is no such method, or no model for it.
    """
    methods: dict[str, Method] = {}
    models: dict[str, Model] = {}
    ours: tuple[Model, Method] | None = None
    for name in names:
        if name == "bicubic":
            methods[name] = bicubic
        elif name in BASELINES:
            models[name] = load_baseline(name, baselines.get(name))
            methods[name] = make_method(models[name])
        elif name in METHODS:
            if ours is None:
                model = load_model(checkpoint)
                model.check_task("SuperResolution")
                ours = model, Upscaler.of_model(model)
            models[name], method = ours
            methods[name] = self_ensemble(method) if name == "hyperfunc+" else method
        else:
            raise UserError(f"--methods: there is no {name!r}; take some of {', '.join(METHODS)}")
    return methods, models


def load_baseline(name: str, workdir: Path | None) -> Model:
    """Load a training run of one of `BASELINES`, or of "dncnn".

    Raises:
        UserError: there is no run, or it is that of another network.
    """
    if workdir is None:
        each = " for each scale" if name in BASELINES else ""
        raise UserError(
            f"{name} has to be trained{each}: give its training run as --{name}, made by "
            f"python train.py --preset={name}"
        )
    model = load_model(workdir)
    network = model.experiment.model
    if not isinstance(network, {**BASELINES, "dncnn": DnCNN}[name]):
        raise UserError(
            f"{model.path} holds {type(network).__name__}: give the training run of "
            f"--preset={name} as --{name}"
        )
    return model


def make_method(model: Model) -> Method:
    """Turn a trained model into a method."""
    network = model.experiment.model
    if network.fixed_scale is None:
        return Upscaler.of_model(model)
    return make_fixed_scale_method(network, model.variables)


def bicubic(image: HostImage, size: Size) -> HostImage:
    """Resize as MATLAB's bicubic ``imresize`` does."""
    return imresize(image, size)


def make_fixed_scale_method(network: ModelProtocol, variables: Any) -> Method:
    """Turn a baseline into a method for its scale, which is compiled for each size of image."""
    scale = network.fixed_scale
    assert scale is not None
    predict_size = jax.jit(functools.partial(predict, network, variables), static_argnums=1)

    def enlarge(image: HostImage, size: Size) -> HostImage:
        height, width = image.shape[:2]
        if size != (height * scale, width * scale):
            raise UserError(
                f"this network was trained for scale {scale} and cannot turn {height} x {width} "
                f"pixels into {size[0]} x {size[1]}: evaluate it with --scale={scale}"
            )
        return to_uint8(np.asarray(predict_size(image[None], size)[0]))

    return enlarge


def self_ensemble(method: Method) -> Method:
    """Average a method over the eight symmetries of the square, before rounding to uint8 again.

    Reference: Timofte et al. 2016, "Seven ways to improve example-based single image super
    resolution"; the "+" of published tables.
    """

    def enlarge(image: HostImage, size: Size) -> HostImage:
        total = np.zeros((*size, 3))
        for is_transposed in (False, True):
            for turns in (0, 1, 2, 3):
                turned = np.rot90(image.swapaxes(0, 1) if is_transposed else image, turns)
                swaps_sides = is_transposed != bool(turns % 2)
                turned_size = (size[1], size[0]) if swaps_sides else size
                result = method(np.ascontiguousarray(turned), turned_size)
                turned_back = np.rot90(result, -turns)
                total += turned_back.swapaxes(0, 1) if is_transposed else turned_back
        return np.floor(total / 8 + 0.5).astype(np.uint8)

    return enlarge
