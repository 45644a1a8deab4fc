"""Overlapping windows whose weights sum to one everywhere.

The functional image blends target networks: f(x) = sum_k w_k(x) T(local_k(x); theta_k). A
`WindowLayout` says where the windows lie and how they are weighted. It is static and hashable,
knows nothing of target networks, and works on one axis at a time because windows and weights are
separable.

Reference: Klocek et al. 2019, Section 4.2 ("overlapping parts of fixed sizes ... (weighted)
average of values returned by all target networks covering this coordinate"); the size of the
parts, their overlap and their weights are not given by the paper.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hyperfunc.pixels.coords import Axis, Samples

Profile = Literal["tent", "box"]


class Cover(NamedTuple):
    """The windows that cover each of n positions along one axis (m windows at most)."""

    index: Int[Array, "n m"]
    weight: Float[Array, "n m"]
    """Sums to one over m; zero for a window that does not exist."""
    local: Float[Array, "n m"]
    """The position in the window's own frame: -1 and 1 are its two ends."""


class WindowAxis(NamedTuple):
    """The windows along one axis: centres at ``first + k * stride``, positions in input pixels."""

    count: int
    first: float
    stride: float
    half_width: float
    profile: Profile

    @property
    def overlap(self) -> int:
        """The largest number of windows that cover one position."""
        return math.ceil(2 * self.half_width / self.stride)

    def cover(
        self, positions: Float[Array, " n"], exists: Float[Array, " k"] | None = None
    ) -> Cover:
        """Find the windows that cover each position.

        Beyond its centre the first window keeps the weight that it has there, and so does the last,
        so that every position, the border included, is covered and no weight is a quotient of
        zeros.

        Args:
            positions: in input pixels.
            exists: 1 for a window that lies in the image, 0 for one that only pads a tile.
        """
        last = self.first + (self.count - 1) * self.stride
        inside = jnp.clip(positions, self.first, last)
        # A box is half open, so that where boxes abut a position belongs to one of them only.
        lowest = jnp.floor((inside - self.half_width - self.first) / self.stride).astype(int) + 1
        index = lowest[:, None] + jnp.arange(self.overlap)[None]
        local = (positions[:, None] - self.first - index * self.stride) / self.half_width
        distance = jnp.where(index == 0, jnp.maximum(local, 0), local)
        distance = jnp.abs(jnp.where(index == self.count - 1, jnp.minimum(distance, 0), distance))
        if self.profile == "tent":
            weight = jnp.clip(1 - distance, 0)
        else:
            weight = (distance < 1 + 1e-4).astype(distance.dtype)
        weight = jnp.where((index >= 0) & (index < self.count), weight, 0.0)
        index = jnp.clip(index, 0, self.count - 1)
        if exists is not None:
            weight = weight * exists[index]
        total = weight.sum(axis=1, keepdims=True)
        weight = weight / jnp.where(total > 0, total, 1.0)
        local = (positions[:, None] - self.first - index * self.stride) / self.half_width
        return Cover(index, weight, local)

    def slots(self, axis: Axis | Samples) -> int:
        """The largest number of samples of ``axis`` that one window can hold.

        The first and the last window also hold those beyond them, up to half a pixel outside of
        the image.
        """
        beyond = max(0.5 + self.first - self.half_width, 0.0)
        # A traced step is not smaller than its number of samples per pixel says.
        step = axis.step if isinstance(axis.step, float | int) else 1 / axis.slots
        return min(axis.count, math.ceil((2 * self.half_width + beyond) / step) + 1)


@dataclasses.dataclass(frozen=True)
class WindowLayout:
    """Where the windows of a functional image lie, in pixels of the input image.

    Attributes:
        size: extent of a window; 0 means one window over the whole image.
        stride: distance between neighbouring windows, at most ``size``.
        overhang: how far the first window reaches over the border of the image.
        profile: "tent" (weighted average) or "box" (plain average of all windows that cover a
            point).
    """

    size: int = 2
    stride: int = 1
    overhang: float = 0.5
    profile: Profile = "tent"

    def __post_init__(self) -> None:
        """Check the geometry."""
        if self.size < 0 or self.stride < 1 or (self.size and self.stride > self.size):
            raise ValueError(
                f"windows of size {self.size} with stride {self.stride} leave gaps: "
                "choose 1 <= stride <= size, or size 0 for one window over the whole image"
            )
        if self.size and self.profile == "tent" and self.stride == self.size:
            raise ValueError(
                f"tents of size {self.size} with stride {self.stride} vanish where they meet: "
                'choose a smaller stride or profile "box"'
            )
        if not 0 <= self.overhang <= max(self.size - self.stride, 0):
            raise ValueError(
                f"an overhang of {self.overhang} leaves the border uncovered: "
                f"choose one between 0 and size - stride = {self.size - self.stride}"
            )

    @property
    def is_per_pixel(self) -> bool:
        """Whether there is one window per input pixel, centred on it and meeting its neighbours."""
        return (self.size, self.stride, self.overhang, self.profile) == (2, 1, 0.5, "tent")

    def axis(self, pixels: int) -> WindowAxis:
        """Lay windows over an axis of ``pixels`` input pixels."""
        if self.size == 0:
            return WindowAxis(1, pixels / 2, pixels, pixels / 2, self.profile)
        extent = pixels + 2 * self.overhang - self.size
        count = max(math.ceil(extent / self.stride) + 1, 1)
        stride = self.stride if count > 1 else self.size
        return WindowAxis(count, self.size / 2 - self.overhang, stride, self.size / 2, self.profile)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Number of windows (rows, columns) over an image of ``size``."""
        return self.axis(size[0]).count, self.axis(size[1]).count


PER_PIXEL = WindowLayout()
"""One window per input pixel, two pixels wide: bilinear blending of the four nearest cells."""

WHOLE_IMAGE = WindowLayout(size=0, overhang=0.0, profile="box")
"""One window over the whole image."""
