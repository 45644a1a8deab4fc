"""Tasks: what is observed, and what the rendered function is compared with.

A task turns an image into a training example, on the host. All examples of a batch share a setting
(scale and phase), so that every batch has one shape and one set of sample positions. To add one:
write the class and name it in the union at the foot of the file.
"""

import dataclasses
import io
from typing import NamedTuple, TypedDict

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from hyperfunc.errors import check_range
from hyperfunc.pixels import crop_margin, degrade_crop, imresize, mirror_indices
from hyperfunc.types import HostImage, Size

NOISE_SIGMA = (10.0, 200.0)
"""Least and largest standard deviation of the noise that disturbs an example, of 255."""

DITHERED = 0.25
"""Part of the disturbed examples that are dithered to two levels."""

JPEG_QUALITY = (30, 95)
"""Least and largest quality of the examples that are compressed, as libjpeg counts."""

MCU = 16
"""Pixels along a side of the blocks that JPEG codes together, where the chroma is halved."""


class Setting(NamedTuple):
    """What all examples of a batch have in common.

    The phase (y, x) is the shift of the low-resolution grid, in pixels of the target; for a
    reconstruction it is the first row and column that are compared.
    """

    scale: int
    phase: tuple[float, float]


class Example(TypedDict):
    """One training example, or with a leading axis a batch of them.

    ``phase`` is the (y, x) shift of the target's grid in pixels of the target: its pixel k lies at
    position (k + 0.5 - phase) * (observed size / target size) of the observed image.
    """

    observed: UInt8[np.ndarray, "*b h w 3"]
    target: UInt8[np.ndarray, "*b H W 3"]
    phase: Float32[np.ndarray, "*b 2"]


@dataclasses.dataclass(frozen=True)
class SuperResolution:
    """Observe a bicubically reduced crop, predict the crop.

    The low-resolution grid is laid at a random real offset over the high-resolution pixels. Scales
    are integers, yet over the batches every phase of the continuous function is seen, while all
    cells of a batch share their scale x scale phases.

    Attributes:
        scales: integer scales, of which each batch draws one; a scale that stands here n times is
            drawn n times as often.
        crop: side of the observed crop, low-resolution pixels.
        protocol_phase: part of the batches that have the phase of the evaluation protocol (0).
        shrink: the image is first reduced by a random factor between 1 and this.
        tries: from so many crops at random places that with most `detail` is taken: a large
            photograph is mostly sky and blur, of which there is little to learn.
        flips: mirror and transpose at random.
        permute_colors: probability to permute the colour channels.
        noise: probability to disturb the observed crop by strong noise, or to dither it to two
            levels. The target is disturbed by the bicubic enlargement of the same: what is no
            photograph shall come out as bicubic interpolation enlarges it.
        jpeg: probability to compress the observed crop as a JPEG of any quality in `JPEG_QUALITY`.
            The target is not compressed: what JPEG does is to be undone.
    """

    scales: tuple[int, ...] = (2, 3, 4)
    crop: int = 32
    protocol_phase: float = 0.5
    shrink: float = 1.0
    tries: int = 1
    flips: bool = True
    permute_colors: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.scales or min(self.scales) < 1:
            raise ValueError(f"scales {self.scales}: give at least one, all at least 1")
        if self.crop < 4:
            raise ValueError(f"a crop of {self.crop} pixels is too small: give at least 4")
        check_range(self, "shrink", "tries", least=1)
        check_range(self, "protocol_phase", "permute_colors", "noise", "jpeg", least=0, most=1)

    @property
    def observed_size(self) -> Size:
        """Size of the observed crop."""
        return self.crop, self.crop

    @property
    def target_sides(self) -> tuple[int, ...]:
        """Sides of the targets that batches may have."""
        return tuple(self.crop * scale for scale in sorted(set(self.scales)))

    def draw_setting(self, rng: np.random.Generator) -> Setting:
        """Draw scale and phase of a batch."""
        scale = int(rng.choice(self.scales))
        if rng.uniform() < self.protocol_phase:
            return Setting(scale, (0.0, 0.0))
        y, x = rng.uniform(-0.5, 0.5, size=2) * scale
        return Setting(scale, (float(y), float(x)))

    def make_example(self, image: HostImage, setting: Setting, rng: np.random.Generator) -> Example:
        """Crop, augment and degrade."""
        side, margin = self.crop * setting.scale, crop_margin(setting.scale)
        factor = rng.uniform(1.0, self.shrink) if self.shrink > 1 else 1.0
        padded = side + 2 * margin
        regions = (
            crop_at_random(image, round(padded * factor), rng, margin=round(margin * factor))
            for _ in range(self.tries)
        )
        region = next(regions) if self.tries == 1 else max(regions, key=detail)
        if region.shape[0] != padded:
            region = shrink_image(region, (padded, padded))
        region = augment(region, rng, flips=self.flips, permute_colors=self.permute_colors)
        observed = degrade_crop(region, setting.scale, phase=setting.phase)
        target = np.ascontiguousarray(region[margin:-margin, margin:-margin])
        if self.noise and rng.uniform() < self.noise:
            disturbed = disturb(observed, rng)
            target = add_enlarged(target, disturbed - observed.astype(np.float32), setting)
            observed = disturbed
        if self.jpeg and rng.uniform() < self.jpeg:
            observed = compress(observed, rng)
        return {
            "observed": observed,
            "target": target,
            "phase": np.asarray(setting.phase, np.float32),
        }


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """Observe an image, predict the same image (the paper's Section 4.1).

    Attributes:
        size: side of the crop; an image of this size is used whole.
        mirror: mirror left and right at random.
        stride: compare every ``stride``-th row and column only, from a random first one for each
            batch. Evaluating the target networks is most of the work, and neighbouring pixels tell
            nearly the same.
    """

    size: int = 64
    mirror: bool = True
    stride: int = 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self, "size", least=1)
        if self.stride < 1 or self.size % self.stride:
            raise ValueError(f"stride {self.stride}: give a divisor of the size {self.size}")

    @property
    def observed_size(self) -> Size:
        """Size of the observed image."""
        return self.size, self.size

    @property
    def target_sides(self) -> tuple[int, ...]:
        """Side of the targets."""
        return (self.size // self.stride,)

    def draw_setting(self, rng: np.random.Generator) -> Setting:
        """Draw the first row and column."""
        if self.stride == 1:
            return Setting(1, (0.0, 0.0))
        y, x = rng.integers(self.stride, size=2)
        return Setting(1, (float(y), float(x)))

    def make_example(self, image: HostImage, setting: Setting, rng: np.random.Generator) -> Example:
        """Crop and mirror."""
        region = crop_at_random(image, self.size, rng)
        if self.mirror and rng.uniform() < 0.5:
            region = region[:, ::-1]
        first = np.array(setting.phase, int)
        top, left = first
        return {
            "observed": np.ascontiguousarray(region),
            "target": np.ascontiguousarray(region[top :: self.stride, left :: self.stride]),
            "phase": (0.5 - (first + 0.5) / self.stride).astype(np.float32),
        }


def crop_at_random(
    image: HostImage, side: int, rng: np.random.Generator, *, margin: int = 0
) -> UInt8[np.ndarray, "side side 3"]:
    """Cut out a square; a margin that reaches over the border of the image is mirrored."""
    for axis, pixels in enumerate(image.shape[:2]):
        room = pixels - (side - 2 * margin)
        first = (int(rng.integers(room + 1)) if room > 0 else room // 2) - margin
        index: slice | np.ndarray = slice(first, first + side)
        if first < 0 or first + side > pixels:
            index = mirror_indices(np.arange(first, first + side), pixels)
        image = image[index] if axis == 0 else image[:, index]
    return image


def detail(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Mean absolute difference of neighbours, in levels; of the green channel, as all are alike."""
    green = image[..., 1].astype(np.int16)
    return sum(float(np.abs(np.diff(green, axis=axis)).mean()) for axis in (0, 1))


def shrink_image(image: HostImage, size: Size) -> HostImage:
    """Make an image smaller with Pillow, faster than ours: for augmentation, not the protocol."""
    height, width = size
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def augment(
    image: UInt8[np.ndarray, "n n 3"],
    rng: np.random.Generator,
    *,
    flips: bool,
    permute_colors: float,
) -> UInt8[np.ndarray, "n n 3"]:
    """Apply a random symmetry of the square, and sometimes a permutation of the channels."""
    if flips:
        vertical, horizontal, transpose = rng.integers(2, size=3)
        image = image[:: 1 - 2 * vertical, :: 1 - 2 * horizontal]
        image = image.swapaxes(0, 1) if transpose else image
    if permute_colors and rng.uniform() < permute_colors:
        image = image[..., rng.permutation(3)]
    return image


def disturb(
    image: UInt8[np.ndarray, "n n 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "n n 3"]:
    """Add Gaussian noise, grey or coloured; sometimes dither with it."""
    sigma = np.exp(rng.uniform(*np.log(NOISE_SIGMA)))
    channels = rng.choice((1, 3))
    noisy = image + rng.normal(0, sigma, (*image.shape[:2], channels))
    if rng.uniform() < DITHERED:
        noisy = np.where(noisy < 128, 0, 255)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def compress(
    image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Save as a JPEG and read it again, as if the image were a part of a larger one.

    The quality, where the grid of blocks begins, and whether the chroma is halved are drawn.
    """
    corner = rng.integers(MCU, size=2)
    pad = [(c, -(c + n) % MCU) for c, n in zip(corner, image.shape, strict=False)]
    quality, subsampling = int(rng.integers(*JPEG_QUALITY, endpoint=True)), int(rng.choice((0, 2)))
    file = io.BytesIO()
    Image.fromarray(np.pad(image, [*pad, (0, 0)], mode="symmetric")).save(
        file, "JPEG", quality=quality, subsampling=subsampling
    )
    decoded = np.asarray(Image.open(file))
    return decoded[corner[0] :, corner[1] :][: image.shape[0], : image.shape[1]]


def add_enlarged(
    target: UInt8[np.ndarray, "m m 3"], difference: Float32[np.ndarray, "n n 3"], setting: Setting
) -> UInt8[np.ndarray, "m m 3"]:
    """Add a difference of observed images, enlarged bicubically, to the target."""
    offset = (-setting.phase[0], -setting.phase[1])
    scale = float(setting.scale)
    size = (target.shape[0], target.shape[1])
    enlarged = imresize(difference, size, scale=(scale, scale), offset=offset)
    return np.clip(np.round(target + enlarged), 0, 255).astype(np.uint8)


Task = SuperResolution | Reconstruction
