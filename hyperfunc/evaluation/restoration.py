"""Restoration by the protocols of the literature: damage images, restore them, and compare."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from hyperfunc.data import ImageSource
from hyperfunc.errors import UserError
from hyperfunc.evaluation.classical import (
    DEBLURRING,
    DENOISING,
    INPAINTING,
    Observation,
    Pixels,
)
from hyperfunc.evaluation.damage import (
    PROTOCOLS,
    Level,
    RestorationTask,
    describe_level,
    observe,
)
from hyperfunc.evaluation.methods import load_baseline
from hyperfunc.evaluation.panels import compare
from hyperfunc.experiment import Model, load_model
from hyperfunc.function import predict
from hyperfunc.images import write_image
from hyperfunc.pixels import border_for, imresize, mean_psnr, psnr_rgb
from hyperfunc.types import HostImage, HostPixels, Size
from hyperfunc.upscaling import Upscaler
from hyperfunc.values import to_integers

COMMON_PROTOCOL = (
    "enlarged images are reduced before the damage, as in super-resolution, and lose as many "
    "border pixels; outputs rounded to uint8; mean over images. Classical methods are told the "
    "standard deviation of the noise, or of the error of the JPEG, and the blur"
)

CLASSICAL = {
    "denoise": DENOISING,
    "deblock": DENOISING,
    "deblur": DEBLURRING,
    "inpaint": INPAINTING,
}
"""The classical methods of each task."""

Restorer = Callable[[Observation, Size], Pixels]
"""From a damaged image to the image without the damage at a size (height, width)."""

TWO_STEPS = ("hyperfunc-bicubic", "hyperfunc-sr", "sr-hyperfunc")
"""The model restores, before or after another method enlarges."""


@dataclasses.dataclass(frozen=True)
class RestorationRow:
    """The mean PSNR (dB) of one method at one level over a dataset, and the time of all images."""

    level: Level
    method: str
    psnr: float
    seconds: float
    images: int


@dataclasses.dataclass(frozen=True)
class RestorationTable:
    """The result of an evaluation of restoration; its fields are those of the JSON file."""

    task: RestorationTask
    dataset: str
    scale: float
    protocol: str
    rows: list[RestorationRow]
    per_image: list[dict[str, Any]]
    """For each level and image {"level": ..., "image": name, METHOD: dB, ...}."""

    def __str__(self) -> str:
        """Lay the methods below each other, and the levels beside each other."""
        levels = list(dict.fromkeys(row.level for row in self.rows))
        methods = list(dict.fromkeys(row.method for row in self.rows))
        images = self.rows[0].images
        lines = [f"{self.task}, {self.dataset}, scale {self.scale:g}, {images} images: PSNR (dB)"]
        heads = [f"  {describe_level(level):>6}" for level in levels]
        lines += [f"{'level':<18}" + "".join(heads) + "   seconds"]
        for method in methods:
            rows = [row for row in self.rows if row.method == method]
            numbers = "".join(
                f"{row.psnr:>{len(head)}.2f}" for row, head in zip(rows, heads, strict=True)
            )
            lines += [f"{method:<18}{numbers}{sum(row.seconds for row in rows):>10.1f}"]
        return "\n".join(lines)


def load_restorers(
    names: Sequence[str] | None,
    task: RestorationTask,
    scale: float,
    *,
    checkpoint: str | Model,
    dncnn: Model | None = None,
) -> tuple[dict[str, Restorer], Model | None]:
    """Load the methods that a task has at a scale, or some of them, and the model if one needs it.

    The task decides which classical methods there are; at scales above 1 there are methods in two
    steps. The checkpoint is the model, or where it is. ``dncnn`` is a model of `load_baseline`.

    Raises:
        UserError: there is no such method, or no such model.
    """
    if dncnn is not None and scale != 1:
        raise UserError(
            f"--dncnn: DnCNN enlarges nothing, and the scale is {scale:g}: "
            "give --scale=1, or leave --dncnn out"
        )
    classical = CLASSICAL[task]
    known = ["observed", *classical, *_list_others(task, scale), "hyperfunc"]
    restorers: dict[str, Restorer] = {}
    model = None
    for name in names or [name for name in known if name != "dncnn" or dncnn is not None]:
        if name not in known:
            raise UserError(
                f"--methods: --task={task} at scale {scale:g} has no {name!r}; take some of "
                f"{', '.join(known)}"
            )
        if name == "observed":
            restorers[name] = then_enlarge(lambda seen: np.nan_to_num(seen.pixels))
        elif name in classical:
            restorers[name] = then_enlarge(classical[name])
        elif name == "dncnn":
            restorers[name] = then_enlarge(use_network(dncnn or load_baseline(name, None)))
        elif name == "sr_jpeg":
            restorers[name] = _use_model(Upscaler.of_model(load_model(name)), "")
        else:
            if model is None:
                model = checkpoint if isinstance(checkpoint, Model) else load_model(checkpoint)
                model.check_task("SuperResolution")
                if task == "inpaint":
                    model.check_filling()
                upscaler = Upscaler.of_model(model)
            restorers[name] = _use_model(upscaler, name)
    return restorers, model


def _list_others(task: RestorationTask, scale: float) -> list[str]:
    """List the methods with a network besides `restore` alone."""
    if scale <= 1:
        return ["dncnn"] if scale == 1 and task != "inpaint" else []
    if task == "inpaint":  # `sr` cannot read missing pixels.
        return [name for name in TWO_STEPS if name != "sr-hyperfunc"]
    return [*TWO_STEPS, *["sr_jpeg"] * (task == "deblock")]


def _use_model(upscaler: Upscaler, name: str) -> Restorer:
    """Restore before or after another method enlarges (`TWO_STEPS`), or at once."""

    def restore(seen: Observation) -> Pixels:
        return upscaler(seen.pixels, seen.pixels.shape[:2])

    if name == "hyperfunc-bicubic":
        return then_enlarge(restore)
    if name == "hyperfunc-sr":
        return then_enlarge(restore, Upscaler.of_model(load_model("sr")))
    if name == "sr-hyperfunc":
        enlarge = Upscaler.of_model(load_model("sr"))
        return lambda seen, size: upscaler(enlarge(seen.pixels, size), size)
    return lambda seen, size: upscaler(seen.pixels, size)


def use_network(model: Model) -> Callable[[Observation], Pixels]:
    """Restore by a network for scale 1, which is compiled for each size of image."""
    apply = functools.partial(predict, model.network, model.variables)
    predict_size = jax.jit(apply, static_argnums=1)

    def restore(seen: Observation) -> Pixels:
        height, width, channels = seen.pixels.shape
        rgb = np.broadcast_to(seen.pixels, (1, height, width, 3))
        restored = np.asarray(predict_size(rgb, (height, width))[0])
        return restored if channels == 3 else restored.mean(axis=-1, keepdims=True)

    return restore


def then_enlarge(
    restore: Callable[[Observation], Pixels], enlarge: Callable[[Pixels, Size], Pixels] = imresize
) -> Restorer:
    """Restore, clip to [0, 1], and enlarge the result."""

    def restore_and_enlarge(seen: Observation, size: Size) -> Pixels:
        restored = restore(seen).clip(0, 1).astype(np.float32)
        return restored if size == restored.shape[:2] else enlarge(restored, size)

    return restore_and_enlarge


def evaluate_restoration(
    source: ImageSource,
    restorers: Mapping[str, Restorer],
    task: RestorationTask,
    levels: Sequence[Level],
    *,
    scale: float = 1.0,
    save_dir: Path | None = None,
) -> RestorationTable:
    """Measure how well methods undo damage, while they enlarge the image (scale above 1) or not.

    The source has the images without damage; for the levels see `hyperfunc.evaluation.damage`.
    ``save_dir`` gets comparisons, which show where the last method gains most over the first one.

    Raises:
        UserError: an image cannot be read or is too small for the scale, or ``save_dir`` cannot be
            written to.
    """
    border = border_for((scale, scale)) if scale > 1 else (0, 0)
    per_image: list[dict[str, Any]] = []
    rows = []
    for level in levels:
        seconds = dict.fromkeys(restorers, 0.0)
        scores: dict[str, list[float]] = {name: [] for name in restorers}
        bar = tqdm(source, f"{task} {describe_level(level)}", unit="image", leave=False)
        for name, image in zip(source.names, bar, strict=True):
            seen, original = observe(image, task, level, scale)
            truth, results = _to_rgb(original), {}
            for method, restore in restorers.items():
                began = time.perf_counter()
                pixels = restore(seen, (original.shape[0], original.shape[1]))
                seconds[method] += time.perf_counter() - began
                results[method] = _to_rgb(to_integers(pixels, np.uint8))
                scores[method].append(psnr_rgb(truth, results[method], border))
            psnr = {method: values[-1] for method, values in scores.items()}
            per_image.append({"level": level, "image": name, **psnr})
            if save_dir is not None:
                damage = describe_level(level).replace(":", "_")
                path = save_dir / f"{name}_{task}{damage}_x{scale:g}.png"
                write_image(path, compare({**results, "original": truth}, psnr))
        rows += [
            RestorationRow(level, method, mean_psnr(values), seconds[method], len(values))
            for method, values in scores.items()
        ]
    protocol = f"{PROTOCOLS[task]}; {COMMON_PROTOCOL}"
    return RestorationTable(task, source.description, scale, protocol, rows, per_image)


def _to_rgb(image: HostPixels) -> HostImage:
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
