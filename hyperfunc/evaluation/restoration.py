"""Restoration by the protocols of the literature: damage images, restore them, and compare."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from hyperfunc.data import Degradation, ImageSource, SuperResolution, Trial, save_as_jpeg
from hyperfunc.errors import UserError
from hyperfunc.evaluation.classical import (
    DEBLURRING,
    DENOISING,
    INPAINTING,
    Observation,
    Pixels,
)
from hyperfunc.evaluation.panels import compare
from hyperfunc.experiment import Model, load_model
from hyperfunc.files import save_json
from hyperfunc.images import write_image
from hyperfunc.pixels import border_for, imresize, luma, mean_psnr, psnr_rgb
from hyperfunc.types import HostImage, HostPixels, Size
from hyperfunc.upscaling import Upscaler
from hyperfunc.values import round_levels, to_integers, to_unit_range

RestorationTask = Literal["denoise", "deblock", "deblur", "inpaint"]

LEVELS: dict[RestorationTask, tuple[float, ...]] = {
    "denoise": (15.0, 25.0, 50.0),
    "deblock": (10.0, 20.0, 30.0, 40.0),
    "deblur": (1.6,),
    "inpaint": (50.0, 80.0),
}
"""Those of published tables: sigma of the noise in levels of 255, libjpeg's quality, sigma of the
blur in pixels, and the percentage of the pixels that are missing."""

PROTOCOLS: dict[RestorationTask, str] = {
    "denoise": "white Gaussian noise on [0, 1], independent in each channel, seed 0 for each "
    "image, not clipped; PSNR over RGB",
    "deblock": "JPEG by libjpeg, of the grey image or of the rounded BT.601 luma (16 to 235), and "
    "PSNR on it; where images are enlarged, of the colours with their chroma halved, and PSNR over "
    "RGB",
    "deblur": "Gaussian blur, mirrored at the border and rounded to uint8, then white Gaussian "
    "noise of sigma 2.55, seed 0 for each image, not clipped; PSNR over RGB",
    "inpaint": "each pixel is missing, in all channels, with this probability, seed 0 for each "
    "image; PSNR over RGB, of all pixels",
}
"""What the numbers mean, for the JSON file."""

COMMON_PROTOCOL = (
    "enlarged images are reduced before the damage, as in super-resolution, and lose as many "
    "border pixels; outputs rounded to uint8; mean over images. Classical methods are told the "
    "standard deviation of the noise, or of the error of the JPEG, and the blur"
)

DEBLURRING_NOISE = 2.55
"""Standard deviation, in levels of 255."""

SMALLEST_ERROR = 1e-4
"""What methods are told of less: they divide by it."""

CLASSICAL = {
    "denoise": DENOISING,
    "deblock": DENOISING,
    "deblur": DEBLURRING,
    "inpaint": INPAINTING,
}
"""The classical methods of each task."""

Restorer = Callable[[Observation, Size], Pixels]
"""From a damaged image to the image without the damage at a size (height, width)."""

OURS = ("hyperfunc-bicubic", "hyperfunc-sr", "hyperfunc")
"""The model: restoring, and then enlarging by another method; or both at once."""


@dataclasses.dataclass(frozen=True)
class RestorationRow:
    """The mean of one method at one level over a dataset.

    Attributes:
        level: of the damage; see `LEVELS`.
        psnr: mean PSNR in decibels, see `hyperfunc.pixels.mean_psnr`.
        seconds: time for all images together, compilation included.
    """

    level: float
    method: str
    psnr: float
    seconds: float
    images: int


@dataclasses.dataclass(frozen=True)
class RestorationTable:
    """The result of an evaluation of restoration; its fields are those of the JSON file.

    Attributes:
        protocol: how the numbers were measured, in words.
        per_image: for each level and image {"level": ..., "image": name, METHOD: dB, ...}.
    """

    task: RestorationTask
    dataset: str
    scale: float
    protocol: str
    rows: list[RestorationRow]
    per_image: list[dict[str, Any]]

    def __str__(self) -> str:
        """Lay the methods below each other, and the levels beside each other."""
        levels = list(dict.fromkeys(row.level for row in self.rows))
        methods = list(dict.fromkeys(row.method for row in self.rows))
        images = self.rows[0].images
        lines = [f"{self.task}, {self.dataset}, scale {self.scale:g}, {images} images: PSNR (dB)"]
        lines += [f"{'level':<18}" + "".join(f"{level:>8g}" for level in levels) + "   seconds"]
        for method in methods:
            rows = [row for row in self.rows if row.method == method]
            numbers = "".join(f"{row.psnr:>8.2f}" for row in rows)
            lines += [f"{method:<18}{numbers}{sum(row.seconds for row in rows):>10.1f}"]
        return "\n".join(lines)

    def save(self, path: Path, **more: Any) -> None:
        """Write the table and more fields as JSON; an infinite number becomes null.

        Raises:
            UserError: the file cannot be written.
        """
        save_json(path, {**dataclasses.asdict(self), **more})


def load_restorers(
    names: Sequence[str] | None, task: RestorationTask, scale: float, *, checkpoint: str | Model
) -> tuple[dict[str, Restorer], Model | None]:
    """Load methods by their names.

    Args:
        names: some of those that the task has at this scale; all of them if not given.
        task: what is to be undone. It decides which classical methods there are.
        scale: by how much images are enlarged. Above 1 there are methods in two steps.
        checkpoint: the model, or where it is; see `load_model`.

    Returns:
        The methods by name, and the model if one of them needs it.

    Raises:
        UserError: there is no such method, or no such model.
    """
    classical = CLASSICAL[task]
    known = ["observed", *classical, *(OURS if scale > 1 else OURS[-1:])]
    restorers: dict[str, Restorer] = {}
    model = None
    for name in names or known:
        if name not in known:
            raise UserError(
                f"--methods: --task={task} at scale {scale:g} has no {name!r}; take some of "
                f"{', '.join(known)}"
            )
        if name == "observed":
            restorers[name] = then_enlarge(lambda seen: np.nan_to_num(seen.pixels))
        elif name in classical:
            restorers[name] = then_enlarge(classical[name])
        else:
            if model is None:
                model = checkpoint if isinstance(checkpoint, Model) else load_model(checkpoint)
                model.check_task("SuperResolution")
                if task == "inpaint":
                    model.check_filling()
                upscaler = Upscaler.of_model(model)
            restorers[name] = _use_model(upscaler, name)
    return restorers, model


def _use_model(upscaler: Upscaler, name: str) -> Restorer:
    def restore(seen: Observation) -> Pixels:
        return upscaler(seen.pixels, seen.pixels.shape[:2])

    if name == "hyperfunc-bicubic":
        return then_enlarge(restore)
    if name == "hyperfunc-sr":
        return then_enlarge(restore, Upscaler.of_model(load_model("sr")))
    return lambda seen, size: upscaler(seen.pixels, size)


def then_enlarge(
    restore: Callable[[Observation], Pixels], enlarge: Callable[[Pixels, Size], Pixels] = imresize
) -> Restorer:
    """Restore, clip to [0, 1], and enlarge the result."""

    def restore_and_enlarge(seen: Observation, size: Size) -> Pixels:
        restored = restore(seen).clip(0, 1).astype(np.float32)
        return restored if size == restored.shape[:2] else enlarge(restored, size)

    return restore_and_enlarge


def observe(
    image: HostImage, task: RestorationTask, level: float | int, scale: float = 1.0
) -> tuple[Observation, HostPixels]:
    """Reduce and damage an image: what methods see of it, and what they shall return."""
    if task == "deblock":
        return _observe_jpeg(image, int(level), scale)
    rng, level = np.random.default_rng(0), float(level)
    if task == "inpaint":
        share = (level / 100, level / 100)
        sigma, degradation = 0.0, Degradation(missing=1.0, missing_share=share)
    elif task == "denoise":
        sigma, degradation = level, Degradation(noise=1.0, noise_sigma=(level, level))
    else:
        sigma, noise = DEBLURRING_NOISE, (DEBLURRING_NOISE, DEBLURRING_NOISE)
        degradation = Degradation(blur=1.0, blur_sigma=(level, level), noise=1.0, noise_sigma=noise)
    trial = Trial(task, scale, degradation)
    pixels, original = SuperResolution().make_validation_pair(image, trial, rng)
    blur = level / scale if task == "deblur" else 0.0
    return Observation(pixels, max(sigma / 255, SMALLEST_ERROR), blur), original


def _observe_jpeg(image: HostImage, quality: int, scale: float) -> tuple[Observation, HostPixels]:
    trial = Trial("deblock", scale)
    reduced, original = SuperResolution().make_validation_pair(
        image, trial, np.random.default_rng(0)
    )
    if scale == 1:
        is_grey = (image == image[..., :1]).all()
        grey = image[..., 0] if is_grey else round_levels(luma(image)).astype(np.uint8)
        reduced = original = grey[..., None]
    decoded = save_as_jpeg(reduced.squeeze(-1) if scale == 1 else reduced, quality)
    pixels, clean = to_unit_range(decoded.reshape(reduced.shape)), to_unit_range(reduced)
    error = float(np.sqrt(np.mean(np.square(pixels - clean))))
    return Observation(pixels, max(error, SMALLEST_ERROR)), original


def evaluate_restoration(
    source: ImageSource,
    restorers: Mapping[str, Restorer],
    task: RestorationTask,
    levels: Sequence[float | int],
    *,
    scale: float = 1.0,
    save_dir: Path | None = None,
) -> RestorationTable:
    """Measure how well methods undo damage, while they enlarge the image or not.

    Args:
        source: the images without damage.
        restorers: methods by name.
        task: the kind of damage.
        levels: how strong it is; see `LEVELS`.
        scale: output pixels per input pixel, at least 1.
        save_dir: folder for comparisons of all methods, which show where the last one gains most
            over the first one.

    Raises:
        UserError: an image cannot be read or is too small for the scale, or ``save_dir`` cannot be
            written to.
    """
    border = border_for((scale, scale)) if scale > 1 else (0, 0)
    per_image: list[dict[str, Any]] = []
    rows = []
    for level in map(float, levels):
        seconds = dict.fromkeys(restorers, 0.0)
        scores: dict[str, list[float]] = {name: [] for name in restorers}
        bar = tqdm(source, f"{task} {level:g}", unit="image", leave=False)
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
                path = save_dir / f"{name}_{task}{level:g}_x{scale:g}.png"
                write_image(path, compare({**results, "original": truth}, psnr))
        rows += [
            RestorationRow(level, method, mean_psnr(values), seconds[method], len(values))
            for method, values in scores.items()
        ]
    protocol = f"{PROTOCOLS[task]}; {COMMON_PROTOCOL}"
    return RestorationTable(task, source.description, scale, protocol, rows, per_image)


def _to_rgb(image: HostPixels) -> HostImage:
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
