"""Degradations: what happens to a photograph between the scene and the file.

The order is that of a camera: optics blur, the sensor's grid reduces, electronics add noise, and
the file is compressed; at last pixels go missing. `SuperResolution` reduces between the two
functions here. All is done on the host, in NumPy.
"""

import dataclasses
import functools
import math
import string
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from hyperfunc.data.blur_kernels import TRUNCATION, motion_kernel
from hyperfunc.data.host_operations import compress
from hyperfunc.errors import check_range
from hyperfunc.types import HostImage, Size
from hyperfunc.values import to_integers, to_unit_range

RANGES = (
    "blur_sigma",
    "blur_noise",
    "motion_length",
    "motion_angle",
    "noise_sigma",
    "jpeg_quality",
    "missing_share",
)
"""The fields of `Degradation` from which strengths are drawn."""

Gaps = Literal["pixels", "strokes", "rectangles", "text"]
"""What is missing: single pixels, or all pixels under what was drawn over the image."""

SHARE_OF_DRAWING = (0.05, 0.3)
"""Range of the share of the pixels under strokes, rectangles or text."""


class Kinds(NamedTuple):
    """Which kinds of degradation happen to an example."""

    blur: bool
    noise: bool
    jpeg: bool
    missing: bool


@dataclasses.dataclass(frozen=True)
class Degradation:
    """Blur, noise, JPEG and missing pixels, each with a probability and a range of strengths.

    A strength is drawn uniformly from its range, for each example. With all probabilities at zero
    nothing is degraded.

    Attributes:
        alone: probability that exactly one of blur, noise and JPEG happens, drawn in proportion to
            their probabilities. Otherwise each of them happens or not, independently.
        blur: probability of blurring the photograph before it is reduced.
        blur_sigma: range of the standard deviation of a Gaussian blur, in pixels of the photograph.
        blur_noise: range of the standard deviation of the noise in a blurred image that gets no
            other noise, in levels of 255: without any, a blur could be inverted.
        motion: probability that a blur is that of a motion, and not Gaussian.
        motion_length: range of the length of its path, in pixels of the photograph.
        motion_angle: range of its angle, in degrees; see `motion_kernel`.
        noise: probability of adding white noise, independent in each channel, to the reduced image.
            It is not clipped unless a JPEG follows.
        noise_sigma: range of the noise's standard deviation, in levels of 255.
        jpeg: probability of compressing the result, at a random place of the grid of blocks, with
            the chroma halved or not.
        jpeg_again: probability of compressing a JPEG for a second time, with another quality and
            another grid.
        jpeg_quality: range of the quality, in libjpeg's units.
        missing: probability that pixels are missing: they are NaN.
        missing_share: range of the share of single pixels that are missing.
        gaps: what is missing, drawn evenly; what is listed n times is drawn n times as often.

    Reference: Zhang et al. 2018, "FFDNet: toward a fast and flexible solution for CNN-based image
    denoising", for noise that is not clipped.
    """

    alone: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.0, 3.0)
    blur_noise: tuple[float, float] = (0.0, 0.0)
    motion: float = 0.0
    motion_length: tuple[float, float] = (1.0, 25.0)
    motion_angle: tuple[float, float] = (0.0, 180.0)
    noise: float = 0.0
    noise_sigma: tuple[float, float] = (0.0, 55.0)
    jpeg: float = 0.0
    jpeg_again: float = 0.0
    jpeg_quality: tuple[int, int] = (30, 95)
    missing: float = 0.0
    missing_share: tuple[float, float] = (0.2, 0.9)
    gaps: tuple[Gaps, ...] = ("pixels",)

    def __post_init__(self) -> None:
        check_range(self, "alone", "blur", "noise", "jpeg", "jpeg_again", least=0, most=1)
        check_range(self, "missing", "missing_share", "motion", least=0, most=1)
        check_range(self, "blur_sigma", "blur_noise", "noise_sigma", least=0)
        check_range(self, "motion_length", "motion_angle", least=0)
        check_range(self, "jpeg_quality", least=1, most=100)
        if not self.gaps:
            raise ValueError("gaps (): name at least one of pixels, strokes, rectangles and text")
        for name in RANGES:
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} {low, high}: give the smaller number first")

    @property
    def is_active(self) -> bool:
        """Whether anything can be degraded."""
        return any((self.blur, self.noise, self.jpeg, self.missing))

    @property
    def dtype(self) -> type[np.uint8] | type[np.float32]:
        """Type of a degraded image: float32 in [0, 1] with noise or missing pixels, else uint8."""
        is_noisy = self.noise or (self.blur and self.blur_noise[1])
        return np.float32 if is_noisy or self.missing else np.uint8

    @property
    def margin(self) -> int:
        """How many pixels away a blurred pixel depends on the photograph."""
        gaussian = TRUNCATION * self.blur_sigma[1] if self.motion < 1 else 0
        motion = self.motion_length[1] / 2 if self.motion else 0
        return math.ceil(max(gaussian, motion)) if self.blur else 0

    def always(self) -> "Degradation":
        """Return the same with all that can happen happening."""
        certain = {name: float(getattr(self, name) > 0) for name in Kinds._fields}
        return dataclasses.replace(self, alone=0.0, **certain)

    def draw_kinds(self, rng: np.random.Generator) -> Kinds:
        """Draw which kinds happen to an example."""
        if not self.is_active:
            return Kinds(False, False, False, False)
        probabilities = np.array([self.blur, self.noise, self.jpeg])
        if probabilities.any() and rng.uniform() < self.alone:
            happens = np.arange(3) == rng.choice(3, p=probabilities / probabilities.sum())
        else:
            happens = rng.uniform(size=3) < probabilities
        return Kinds(*happens.tolist(), missing=self.missing > 0 and rng.uniform() < self.missing)

    def blur_photograph(
        self, image: HostImage, kinds: Kinds, rng: np.random.Generator
    ) -> HostImage:
        """Blur, if this happens, and round; the image is mirrored at its border."""
        if not kinds.blur:
            return image
        import scipy.ndimage  # `hyperfunc upscale` starts without it.

        pixels = to_unit_range(image)
        if self.motion and rng.uniform() < self.motion:
            kernel = motion_kernel(
                rng.uniform(*self.motion_length), rng.uniform(*self.motion_angle)
            )
            blurred = scipy.ndimage.convolve(pixels, kernel[..., None], mode="reflect")
        else:
            sigma = rng.uniform(*self.blur_sigma)
            blurred = scipy.ndimage.gaussian_filter(
                pixels, (sigma, sigma, 0), mode="reflect", truncate=TRUNCATION
            )
        return to_integers(blurred, np.uint8)

    def degrade_reduced(
        self, image: HostImage, kinds: Kinds, rng: np.random.Generator
    ) -> UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]:
        """Add noise to the reduced image, compress it, and lose pixels; its type is `dtype`."""
        noisy: np.ndarray = image
        if kinds.noise or (kinds.blur and self.blur_noise[1]):
            noise = rng.standard_normal(image.shape, np.float32)
            sigma = rng.uniform(*(self.noise_sigma if kinds.noise else self.blur_noise)) / 255
            noisy = to_unit_range(image) + np.float32(sigma) * noise
        if kinds.jpeg:
            as_file = to_integers(noisy, np.uint8) if noisy.dtype == np.float32 else noisy
            noisy = compress(as_file, rng, self.jpeg_quality)
            if self.jpeg_again and rng.uniform() < self.jpeg_again:
                noisy = compress(noisy, rng, self.jpeg_quality)
        if self.dtype == np.float32:
            noisy = to_unit_range(noisy)
        if kinds.missing:
            gaps = self.gaps[rng.integers(len(self.gaps))]
            is_missing = draw_missing(image.shape[:2], gaps, self.missing_share, rng)
            noisy = np.where(is_missing[..., None], np.float32(np.nan), noisy)
        return noisy


def draw_missing(
    size: Size, gaps: Gaps, share: tuple[float, float], rng: np.random.Generator
) -> Bool[np.ndarray, "h w"]:
    """Draw which pixels of an image of this size are missing.

    ``share`` is the range of the share of single pixels; that of the others is `SHARE_OF_DRAWING`.
    """
    if gaps == "pixels":
        return rng.uniform(size=size) < rng.uniform(*share)
    picture = Image.new("1", (size[1], size[0]))
    canvas, wanted = ImageDraw.Draw(picture), rng.uniform(*SHARE_OF_DRAWING)
    draw = {"strokes": _draw_stroke, "rectangles": _draw_rectangle, "text": _draw_word}[gaps]
    is_missing = np.zeros(size, bool)
    while is_missing.mean() < wanted:
        draw(canvas, rng.uniform((0, 0), picture.size), rng)
        is_missing = np.asarray(picture)
    return is_missing


def _draw_stroke(canvas: ImageDraw.ImageDraw, start: np.ndarray, rng: np.random.Generator) -> None:
    points = start + np.cumsum(rng.uniform(-24, 24, size=(4, 2)), axis=0)
    width = int(rng.integers(2, 8))
    canvas.line([(x, y) for x, y in points.tolist()], fill=1, width=width, joint="curve")


def _draw_rectangle(
    canvas: ImageDraw.ImageDraw, start: np.ndarray, rng: np.random.Generator
) -> None:
    end = start + rng.integers(3, 18, size=2)
    canvas.rectangle((*start.round().tolist(), *end.round().tolist()), fill=1)


def _draw_word(canvas: ImageDraw.ImageDraw, start: np.ndarray, rng: np.random.Generator) -> None:
    letters = "".join(rng.choice(list(string.ascii_letters + string.digits), size=6))
    font = _load_font(int(rng.integers(10, 28)))
    canvas.text((start[0] - 20, start[1] - 10), letters, fill=1, font=font)


@functools.cache
def _load_font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
