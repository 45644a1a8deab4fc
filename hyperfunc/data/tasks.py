"""Tasks: how an image becomes a training example, and which held-out examples validate a model.

A task draws a `Setting` (scale and phase) that all examples of a batch share, so that every batch
has one shape and one set of sample positions, and makes the examples on the host. To add a task,
write a class with the methods of these two and name it in the union at the end of the file.
"""

import dataclasses
from typing import NamedTuple, NoReturn, TypedDict

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from hyperfunc.data.augmentation import (
    DITHERED_SHARE,
    NOISE_SIGMA_RANGE,
    Disturbance,
    disturb,
    measure_detail,
    permute_channels,
    round_to_levels,
    turn,
)
from hyperfunc.data.jpeg import compress
from hyperfunc.errors import check_range
from hyperfunc.pixels import crop_margin, degrade_crop, imresize, mirror_indices
from hyperfunc.types import HostImage, Size


class Setting(NamedTuple):
    """The properties that all examples of a batch share."""

    scale: int
    phase: tuple[float, float]
    """(y, x): for super-resolution the shift of the low-resolution grid, in pixels of the target;
    for a reconstruction the first row and column that are compared."""


class Example(TypedDict):
    """One training example, or with a leading axis a batch of them.

    ``phase`` is the (y, x) shift of the target's grid, in pixels of the target: its pixel k lies at
    position (k + 0.5 - phase) * (observed size / target size) of the observed image.
    """

    observed: UInt8[np.ndarray, "*b h w 3"]
    target: UInt8[np.ndarray, "*b H W 3"]
    phase: Float32[np.ndarray, "*b 2"]


@dataclasses.dataclass(frozen=True)
class SuperResolution:
    """Observe a bicubically reduced crop, predict the crop.

    The low-resolution grid is laid at a random real offset over the high-resolution pixels. Scales
    are integers, so that all cells of a batch share their scale x scale phases; over many batches
    the model still sees every phase of the continuous function.

    Attributes:
        scales: integer scales, of which each batch draws one; a scale that is listed n times is
            drawn n times as often.
        crop: side of the observed crop, in low-resolution pixels.
        protocol_phase: share of the batches with the phase of the evaluation protocol (0).
        shrink: reduce the image first by a random factor between 1 and this.
        tries: number of random crops, of which the one with the most detail is taken. Large
            photographs are mostly sky and blur, which teach little.
        flips: mirror and transpose at random.
        permute_colors: probability of permuting the colour channels.
        noise: probability of adding strong noise to the observed crop, or of dithering it to black
            and white. The target gets the bicubic enlargement of the same disturbance: the model
            learns to enlarge what is not a photograph as bicubic interpolation does.
        jpeg: probability of compressing the observed crop as a JPEG. The target is not compressed:
            the model learns to undo the compression.
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
        """Sides of the targets, one for each scale, in pixels."""
        return tuple(self.crop * scale for scale in sorted(set(self.scales)))

    def check_resident(self) -> "SuperResolution":
        """Return the task itself if the devices can make its examples.

        Raises:
            ValueError: they cannot.
        """
        if self.jpeg:
            raise ValueError(
                f"--task.jpeg {self.jpeg}: only the host can compress examples: set "
                "--data.resident=False"
            )
        return self

    def draw_setting(self, rng: np.random.Generator) -> Setting:
        """Draw the scale and the phase of a batch."""
        scale = int(rng.choice(self.scales))
        if rng.uniform() < self.protocol_phase:
            return Setting(scale, (0.0, 0.0))
        y, x = rng.uniform(-0.5, 0.5, size=2) * scale
        return Setting(scale, (float(y), float(x)))

    def make_example(self, image: HostImage, setting: Setting, rng: np.random.Generator) -> Example:
        """Crop, augment and degrade an image."""
        margin = crop_margin(setting.scale)
        region = self._draw_region(image, setting.scale, rng)
        region = augment(region, rng, flips=self.flips, permute_colors=self.permute_colors)
        observed = degrade_crop(region, setting.scale, phase=setting.phase)
        target = np.ascontiguousarray(region[margin:-margin, margin:-margin])
        if self.noise and rng.uniform() < self.noise:
            size = (target.shape[0], target.shape[1])
            disturbance = draw_disturbance(self.observed_size, rng)
            observed, target = disturb(
                observed, target, disturbance, lambda change: enlarge(change, size, setting)
            )
        if self.jpeg and rng.uniform() < self.jpeg:
            observed = compress(observed, rng)
        return {
            "observed": observed,
            "target": target,
            "phase": np.asarray(setting.phase, np.float32),
        }

    def _draw_region(
        self, image: HostImage, scale: int, rng: np.random.Generator
    ) -> UInt8[np.ndarray, "n n 3"]:
        """Draw a crop with the margins that its reduction needs, at the size of the target."""
        side, margin = self.crop * scale, crop_margin(scale)
        factor = rng.uniform(1.0, self.shrink) if self.shrink > 1 else 1.0
        padded = side + 2 * margin
        regions = (
            crop_at_random(image, round(padded * factor), rng, margin=round(margin * factor))
            for _ in range(self.tries)
        )
        region = next(regions) if self.tries == 1 else max(regions, key=measure_detail)
        if region.shape[0] != padded:
            region = shrink_image(region, (padded, padded))
        return region


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """Observe an image, predict the same image (the paper's Section 4.1).

    Attributes:
        size: side of the crop in pixels; an image of this size is used whole.
        mirror: mirror left and right at random.
        stride: compare every ``stride``-th row and column only, beginning at a random one for each
            batch. Evaluating the target networks is most of the work, and neighbouring pixels are
            nearly alike.
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
        """Side of the targets, in pixels."""
        return (self.size // self.stride,)

    def check_resident(self) -> NoReturn:
        """Refuse: the devices make no examples of this task.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "--data.resident=True is for super-resolution only: set --data.resident=False"
        )

    def draw_setting(self, rng: np.random.Generator) -> Setting:
        """Draw the first row and column that are compared."""
        if self.stride == 1:
            return Setting(1, (0.0, 0.0))
        y, x = rng.integers(self.stride, size=2)
        return Setting(1, (float(y), float(x)))

    def make_example(self, image: HostImage, setting: Setting, rng: np.random.Generator) -> Example:
        """Crop and mirror an image."""
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


Task = SuperResolution | Reconstruction


def crop_at_random(
    image: HostImage, side: int, rng: np.random.Generator, *, margin: int = 0
) -> UInt8[np.ndarray, "side side 3"]:
    """Cut out a random square; a margin that reaches beyond the border of the image is mirrored.

    Args:
        image: an image of any size.
        side: side of the square with its margins, in pixels.
        rng: draws the place.
        margin: width of the margin, in pixels.
    """
    for axis, pixels in enumerate(image.shape[:2]):
        room = pixels - (side - 2 * margin)
        first = (int(rng.integers(room + 1)) if room > 0 else room // 2) - margin
        index: slice | np.ndarray = slice(first, first + side)
        if first < 0 or first + side > pixels:
            index = mirror_indices(np.arange(first, first + side), pixels)
        image = image[index] if axis == 0 else image[:, index]
    return image


def shrink_image(image: HostImage, size: Size) -> HostImage:
    """Reduce an image with Pillow, whose bicubic filter is faster than the protocol's."""
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
    """Apply a random symmetry of the square, and with some probability permute the channels."""
    if flips:
        image = turn(image, rng.integers(2, size=3))
    if permute_colors and rng.uniform() < permute_colors:
        image = permute_channels(image, rng.permutation(3)[None, None])
    return image


def draw_disturbance(size: Size, rng: np.random.Generator) -> Disturbance:
    """Draw noise, grey or coloured, and whether to dither with it."""
    sigma = np.exp(rng.uniform(*np.log(NOISE_SIGMA_RANGE)))
    channels = rng.choice((1, 3))
    noise = rng.standard_normal((*size, channels))
    return Disturbance(noise, sigma, rng.uniform() < DITHERED_SHARE)


def enlarge(
    difference: Float32[np.ndarray, "n n 3"], size: Size, setting: Setting
) -> Float32[np.ndarray, "m m 3"]:
    """Enlarge a difference of observed crops bicubically to the pixels of the target."""
    scale = float(setting.scale)
    offset = (-setting.phase[0], -setting.phase[1])
    return imresize(difference, size, scale=(scale, scale), offset=offset)


def add_enlarged(
    target: UInt8[np.ndarray, "m m 3"], difference: Float32[np.ndarray, "n n 3"], setting: Setting
) -> UInt8[np.ndarray, "m m 3"]:
    """Add a difference of observed crops, enlarged bicubically, to the target."""
    size = (target.shape[0], target.shape[1])
    return round_to_levels(target + enlarge(difference, size, setting))
