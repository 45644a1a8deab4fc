"""Methods of a table: functions from a low-resolution image and a size to an image of that size."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.experiment import Model
from hyperfunc.function import predict
from hyperfunc.images import to_uint8
from hyperfunc.networks import ModelProtocol
from hyperfunc.pixels import imresize
from hyperfunc.types import HostImage, Size
from hyperfunc.upscaling import Upscaler

Method = Callable[[HostImage, Size], HostImage]
"""From a low-resolution image and a size (height, width) to an image of that size."""


def make_method(model: Model) -> Method:
    """Turn a trained model into a method."""
    network = model.experiment.model
    if network.fixed_scale is None:
        return Upscaler(model.hypernetwork, model.variables)
    return FixedScaleUpscaler(network, model.variables)


def bicubic(image: HostImage, size: Size) -> HostImage:
    """Resize as MATLAB's bicubic ``imresize`` does."""
    return imresize(image, size)


class FixedScaleUpscaler:
    """A method that enlarges whole images by the one scale of a baseline.

    It is compiled once for each size of image.
    """

    def __init__(self, network: ModelProtocol, variables: Any) -> None:
        """Keep the network and its variables.

        Args:
            network: a network with a ``fixed_scale``.
            variables: its Flax variables.
        """
        assert network.fixed_scale is not None
        self._scale = network.fixed_scale
        self._predict = jax.jit(
            lambda images, size: predict(network, variables, images, size), static_argnums=1
        )

    def __call__(self, image: HostImage, size: Size) -> HostImage:
        """Enlarge an image.

        Raises:
            UserError: the size is not that of the network's scale.
        """
        if size != (image.shape[0] * self._scale, image.shape[1] * self._scale):
            raise UserError(
                f"this network was trained for scale {self._scale} and cannot turn "
                f"{image.shape[0]} x {image.shape[1]} pixels into {size[0]} x {size[1]}: evaluate "
                f"it with --scale={self._scale}"
            )
        return to_uint8(np.asarray(self._predict(image[None], size)[0]))


def self_ensemble(method: Method) -> Method:
    """Average a method over the eight symmetries of the square, before rounding to uint8 again.

    Reference: Timofte et al. 2016, "Seven ways to improve example-based single image super
    resolution"; the "+" of published tables.
    """

    def enlarge(image: HostImage, size: Size) -> HostImage:
        total = np.zeros((*size, 3))
        for transposed in (False, True):
            for turns in (0, 1, 2, 3):
                moved = np.rot90(image.swapaxes(0, 1) if transposed else image, turns)
                odd = transposed != bool(turns % 2)
                target = (size[1], size[0]) if odd else size
                result = method(np.ascontiguousarray(moved), target)
                back = np.rot90(result, -turns)
                total += back.swapaxes(0, 1) if transposed else back
        return np.floor(total / 8 + 0.5).astype(np.uint8)

    return enlarge
