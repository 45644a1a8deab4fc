"""The damage of restoration's protocols: what methods see of an image, and what they shall return.

A level says how strong the damage is, for "deblur" also which one: "gaussian:1.6" is the standard
deviation, "motion:15:30" the length and the angle of `motion_kernel`; lengths are in pixels, angles
in degrees. The other levels are numbers: the standard deviation of the noise in levels of 255,
libjpeg's quality, and the percentage of the pixels that are missing.
"""

import functools
from typing import Literal

import numpy as np

from hyperfunc.data import (
    Degradation,
    SuperResolution,
    Trial,
    gaussian_kernel,
    motion_kernel,
    save_as_jpeg,
)
from hyperfunc.errors import UserError
from hyperfunc.evaluation.classical import Observation
from hyperfunc.pixels import luma
from hyperfunc.types import HostImage, HostPixels
from hyperfunc.values import round_levels, to_unit_range

RestorationTask = Literal["denoise", "deblock", "deblur", "inpaint"]

Level = float | int | str

LEVELS: dict[RestorationTask, tuple[Level, ...]] = {
    "denoise": (15.0, 25.0, 50.0),
    "deblock": (10.0, 20.0, 30.0, 40.0),
    "deblur": ("gaussian:1.6", "motion:9:30", "motion:15:120"),
    "inpaint": (50.0, 80.0),
}
"""Those of published tables, and two motions."""

RANGES = {
    "denoise": (0, 255),
    "deblock": (1, 100),
    "inpaint": (0, 99),
    "gaussian:sigma": (0.1, 20),
    "motion:length": (1, 100),
    "motion:angle": (0, 180),
}
"""What a level may be."""

PROTOCOLS: dict[RestorationTask, str] = {
    "denoise": "white Gaussian noise on [0, 1], independent in each channel, seed 0 for each "
    "image, not clipped; PSNR over RGB",
    "deblock": "JPEG by libjpeg, of the grey image or of the rounded BT.601 luma (16 to 235), and "
    "PSNR on it; where images are enlarged, of the colours with their chroma halved, and PSNR over "
    "RGB",
    "deblur": "blur, Gaussian or by a uniform motion (length in pixels : angle in degrees, "
    "counter-clockwise from the rows), mirrored at the border and rounded to uint8, then white "
    "Gaussian noise of sigma 2.55, seed 0 for each image, not clipped; PSNR over RGB",
    "inpaint": "each pixel is missing, in all channels, with this probability, seed 0 for each "
    "image; PSNR over RGB, of all pixels",
}
"""What the numbers mean, for the JSON file."""

DEBLURRING_NOISE = 2.55
"""Standard deviation, in levels of 255."""

SMALLEST_ERROR = 1e-4
"""Methods are told of no smaller error: they divide by it."""


def parse_levels(task: RestorationTask, text: str) -> list[Level]:
    """Read levels such as "15,25,50" or "gaussian:1.6,motion:15:30", in the task's range."""
    parse = _parse_blur if task == "deblur" else functools.partial(_parse_number, task)
    try:
        return list(dict.fromkeys(parse(part.strip()) for part in text.split(",")))
    except ValueError as error:
        wanted = (
            "gaussian:SIGMA (0.1 to 20 pixels) and motion:LENGTH:ANGLE (1 to 100 pixels, 0 to 180 "
            "degrees)"
        )
        if task != "deblur":
            kind = "whole numbers" if task == "deblock" else "numbers"
            wanted = f"{kind} from {RANGES[task][0]} to {RANGES[task][1]}"
        raise UserError(
            f"--level {text!r}: --task={task} takes {wanted}, separated by commas"
        ) from error


def _parse_number(kind: str, text: str) -> float:
    """Read a number of one of `RANGES`."""
    number, (lowest, highest) = float(text), RANGES[kind]
    if not lowest <= number <= highest or (kind == "deblock" and not number.is_integer()):
        raise ValueError(text)
    return number


def _parse_blur(text: str) -> str:
    """Read the level of a blur, and write it in one way."""
    kind, *words = text.split(":")
    ranges = [name for name in RANGES if name.startswith(f"{kind}:")]
    if not ranges:
        raise ValueError(text)
    numbers = [_parse_number(name, word) for name, word in zip(ranges, words, strict=True)]
    return ":".join([kind, *(f"{number:g}" for number in numbers)])


def describe_level(level: Level) -> str:
    """Write a level as `parse_levels` reads it."""
    return level if isinstance(level, str) else f"{level:g}"


def observe(
    image: HostImage, task: RestorationTask, level: Level, scale: float = 1.0
) -> tuple[Observation, HostPixels]:
    """Reduce and damage an image: what methods see of it, and what they shall return."""
    if task == "deblock":
        return _observe_jpeg(image, int(level), scale)
    kernel = None
    if task == "deblur":
        sigma, (degradation, kernel) = DEBLURRING_NOISE, _make_blur(str(level), scale)
    elif task == "inpaint":
        share = (float(level) / 100, float(level) / 100)
        sigma, degradation = 0.0, Degradation(missing=1.0, missing_share=share)
    else:
        sigma = float(level)
        degradation = Degradation(noise=1.0, noise_sigma=(sigma, sigma))
    trial = Trial(task, scale, degradation)
    rng = np.random.default_rng(0)
    pixels, original = SuperResolution().make_validation_pair(image, trial, rng)
    return Observation(pixels, max(sigma / 255, SMALLEST_ERROR), kernel), original


def _make_blur(level: str, scale: float) -> tuple[Degradation, np.ndarray]:
    """Make the damage of the original image, and the kernel of the blur of the reduced one."""
    noise = (DEBLURRING_NOISE, DEBLURRING_NOISE)
    kind, *numbers = level.split(":")
    if kind == "gaussian":
        (sigma,) = map(float, numbers)
        blur = Degradation(blur=1.0, blur_sigma=(sigma, sigma), noise=1.0, noise_sigma=noise)
        return blur, gaussian_kernel(sigma / scale)
    length, angle = map(float, numbers)
    blur = Degradation(
        blur=1.0,
        motion=1.0,
        motion_length=(length, length),
        motion_angle=(angle, angle),
        noise=1.0,
        noise_sigma=noise,
    )
    return blur, motion_kernel(length / scale, angle)


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
