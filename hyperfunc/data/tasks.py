"""Tasks: how an image becomes a training example, and how held-out images validate a model.

A task draws a `Setting` that all examples of a batch share, so that every batch has one shape and
one set of sample positions, and makes the examples on the host. To add a task, write a class with
the methods of these two and name it in the union at the end of the file.
"""

import dataclasses
from typing import NamedTuple, NoReturn, TypedDict

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import DTypeLike

from hyperfunc.data.augmentation import disturb, measure_detail
from hyperfunc.data.degradation import Degradation
from hyperfunc.data.host_operations import (
    Setting,
    augment,
    crop_at_random,
    draw_disturbance,
    enlarge,
    shrink_image,
)
from hyperfunc.errors import check_range
from hyperfunc.networks import ModelProtocol
from hyperfunc.pixels import crop_margin, degrade, degrade_crop
from hyperfunc.types import HostImage, Size

VALIDATION_SCALES = (2.0, 3.0, 4.0, 1.5, 2.5, 3.7, 6.0, 8.0)
"""The scales that validate super-resolution: trained ones, ones between them, and larger ones."""


Observed = UInt8[np.ndarray, "*b h w 3"] | Float32[np.ndarray, "*b h w 3"]
"""What a model observes: levels, or nominally [0, 1] where noise is not clipped. What is
missing is NaN."""


class Trial(NamedTuple):
    """How held-out images are degraded to validate a model."""

    name: str
    """What the score is called."""
    scale: float
    degradation: Degradation = Degradation()


RESTORATION_TRIALS = (
    Trial("clean_x1", 1.0),
    Trial("noise15_x1", 1.0, Degradation(noise=1.0, noise_sigma=(15.0, 15.0))),
    Trial("noise25_x1", 1.0, Degradation(noise=1.0, noise_sigma=(25.0, 25.0))),
    Trial("noise50_x1", 1.0, Degradation(noise=1.0, noise_sigma=(50.0, 50.0))),
    Trial("jpeg20_x1", 1.0, Degradation(jpeg=1.0, jpeg_quality=(20, 20))),
    Trial("jpeg40_x1", 1.0, Degradation(jpeg=1.0, jpeg_quality=(40, 40))),
    Trial(
        "blur_x1",
        1.0,
        Degradation(blur=1.0, blur_sigma=(1.6, 1.6), noise=1.0, noise_sigma=(2.55, 2.55)),
    ),
    Trial("clean_x2", 2.0),
    Trial("noise15_x2", 2.0, Degradation(noise=1.0, noise_sigma=(15.0, 15.0))),
    Trial("jpeg40_x2", 2.0, Degradation(jpeg=1.0, jpeg_quality=(40, 40))),
)
"""What validates a task with scale 1: the levels of the literature, one by one."""

INPAINTING_TRIALS = (
    Trial("missing50_x1", 1.0, Degradation(missing=1.0, missing_share=(0.5, 0.5))),
    Trial("missing80_x1", 1.0, Degradation(missing=1.0, missing_share=(0.8, 0.8))),
    Trial("strokes_x1", 1.0, Degradation(missing=1.0, gaps=("strokes",))),
    Trial("rectangles_x1", 1.0, Degradation(missing=1.0, gaps=("rectangles",))),
    Trial("text_x1", 1.0, Degradation(missing=1.0, gaps=("text",))),
    Trial("missing50_x2", 2.0, Degradation(missing=1.0, missing_share=(0.5, 0.5))),
)
"""What validates a task with scale 1 and missing pixels."""


class Example(TypedDict):
    """One training example, or with a leading axis a batch of them.

    ``phase`` is the (y, x) shift of the target's grid, in pixels of the target: its pixel k lies at
    position (k + 0.5 - phase) * (observed size / target size) of the observed image.
    """

    observed: Observed
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
        protocol_phase: share of the batches with the phase of the evaluation protocol (0), which
            those of scale 1 always have: another would blur them.
        shrink: reduce the image first by a random factor between 1 and this.
        tries: number of random crops, of which the one with the most detail is taken. Large
            photographs are mostly sky and blur, which teach little.
        flips: mirror and transpose at random.
        permute_colors: probability of permuting the colour channels.
        grey: probability of removing the colours.
        noise: probability of adding strong noise to the observed crop, or of dithering it to black
            and white. The target gets the bicubic enlargement of the same disturbance: the model
            learns to enlarge what is not a photograph as bicubic interpolation does.
        degradation: blur, noise, JPEG and missing pixels of what is observed. The target is not
            degraded: the model learns to undo them.
    """

    scales: tuple[int, ...] = (2, 3, 4)
    crop: int = 32
    protocol_phase: float = 0.5
    shrink: float = 1.0
    tries: int = 1
    flips: bool = True
    permute_colors: float = 0.0
    grey: float = 0.0
    noise: float = 0.0
    degradation: Degradation = Degradation()

    validation_side = 192
    """Side of the crops of held-out images, in pixels."""

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) < 1:
            raise ValueError(f"scales {self.scales}: give at least one, all at least 1")
        if self.crop < 4:
            raise ValueError(f"a crop of {self.crop} pixels is too small: give at least 4")
        check_range(self, "shrink", "tries", least=1)
        check_range(self, "protocol_phase", "permute_colors", "grey", "noise", least=0, most=1)

    @property
    def observed_size(self) -> Size:
        """Size of the observed crop."""
        return self.crop, self.crop

    @property
    def observed_dtype(self) -> DTypeLike:
        """Type of the observed crop: uint8, or float32 in [0, 1]; see `Degradation`."""
        return self.degradation.dtype

    @property
    def target_sides(self) -> tuple[int, ...]:
        """Sides of the targets, one for each scale, in pixels."""
        return tuple(self.crop * scale for scale in sorted(set(self.scales)))

    def get_trials(self, model: ModelProtocol) -> tuple[Trial, ...]:
        """Return how held-out images validate a model."""
        fixed = model.fixed_scale
        if 1 in self.scales and self.degradation.is_active:
            trials = INPAINTING_TRIALS if self.degradation.missing else RESTORATION_TRIALS
            return tuple(trial for trial in trials if fixed in (None, trial.scale))
        scales = VALIDATION_SCALES if fixed is None else (float(fixed),)
        return tuple(Trial(f"x{scale:g}", scale, self.degradation.always()) for scale in scales)

    def make_validation_pair(
        self, image: HostImage, trial: Trial, rng: np.random.Generator
    ) -> tuple[Observed, HostImage]:
        """Make what a model observes of a held-out image, and what it shall predict."""
        scale = (trial.scale, trial.scale)
        _, target = degrade(image, scale)
        degradation = trial.degradation
        kinds = degradation.draw_kinds(rng)
        observed, _ = degrade(degradation.blur_photograph(image, kinds, rng), scale)
        return degradation.degrade_reduced(observed, kinds, rng), target

    def check_model(self, model: ModelProtocol) -> None:
        """Check that a model can learn the task.

        Raises:
            ValueError: it predicts one scale only, and the task has others.
        """
        scale = model.fixed_scale
        if scale is not None and (self.scales != (scale,) or self.protocol_phase != 1):
            raise _explain_fixed_scale(model)

    def check_resident(self) -> "SuperResolution":
        """Return the task itself if the devices can make its examples.

        Raises:
            ValueError: they cannot.
        """
        if self.degradation.is_active:
            raise ValueError(
                f"{self.degradation}: only the host can degrade examples: set --data.resident=False"
            )
        return self

    def draw_setting(self, rng: np.random.Generator) -> Setting:
        """Draw the scale and the phase of a batch."""
        scale = int(rng.choice(self.scales))
        if scale == 1 or rng.uniform() < self.protocol_phase:
            return Setting(scale, (0.0, 0.0))
        y, x = rng.uniform(-0.5, 0.5, size=2) * scale
        return Setting(scale, (float(y), float(x)))

    def make_example(self, image: HostImage, setting: Setting, rng: np.random.Generator) -> Example:
        """Crop, augment and degrade an image."""
        margin = crop_margin(setting.scale)
        region = self._draw_region(image, setting.scale, rng)
        region = augment(
            region, rng, flips=self.flips, permute_colors=self.permute_colors, grey=self.grey
        )
        kinds = self.degradation.draw_kinds(rng)
        blurred = self.degradation.blur_photograph(region, kinds, rng)
        inside = slice(self.degradation.margin, region.shape[0] - self.degradation.margin)
        observed = degrade_crop(blurred[inside, inside], setting.scale, phase=setting.phase)
        target = np.ascontiguousarray(region[inside, inside][margin:-margin, margin:-margin])
        if self.noise and rng.uniform() < self.noise:
            disturbance = draw_disturbance(self.observed_size, rng)
            observed, target = disturb(
                observed, target, disturbance, lambda change: enlarge(change, setting)
            )
        return {
            "observed": self.degradation.degrade_reduced(observed, kinds, rng),
            "target": target,
            "phase": np.asarray(setting.phase, np.float32),
        }

    def _draw_region(
        self, image: HostImage, scale: int, rng: np.random.Generator
    ) -> UInt8[np.ndarray, "n n 3"]:
        """Draw a crop with the margins that its degradation needs, at the size of the target."""
        side, margin = self.crop * scale, crop_margin(scale) + self.degradation.margin
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

    observed_dtype = np.uint8
    """Type of the observed image."""

    def __post_init__(self) -> None:
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

    @property
    def validation_side(self) -> int:
        """Side of the crops of held-out images, in pixels."""
        return self.size

    def get_trials(self, model: ModelProtocol) -> tuple[Trial, ...]:
        """Return how held-out images validate a model: as they are, for every model."""
        del model
        return (Trial("x1", 1.0),)

    def make_validation_pair(
        self, image: HostImage, trial: Trial, rng: np.random.Generator
    ) -> tuple[HostImage, HostImage]:
        """Make what a model observes of a held-out image, and what it shall predict: the same."""
        del trial, rng
        return image, image

    def check_model(self, model: ModelProtocol) -> None:
        """Check that a model can learn the task.

        Raises:
            ValueError: it predicts larger images only, or depends on the skipped pixels.
        """
        if model.fixed_scale is not None:
            raise _explain_fixed_scale(model)
        if self.stride > 1 and model.depends_on_footprint:
            raise ValueError(
                f"stride {self.stride}: skipping pixels changes the footprint that a base image "
                "and the target network see: set --task.stride=1"
            )

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


def _explain_fixed_scale(model: ModelProtocol) -> ValueError:
    return ValueError(
        f"{type(model).__name__} is for scale {model.fixed_scale} only: set "
        f"--task.scales {model.fixed_scale} and --task.protocol_phase 1"
    )


Task = SuperResolution | Reconstruction
