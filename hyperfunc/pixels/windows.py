"""Overlapping windows whose weights sum to one everywhere.

The functional image blends target networks: f(x) = sum_k w_k(x) T(local_k(x); theta_k). A
`WindowLayout` says where the windows lie and how they are weighted. It is static and hashable, and
knows nothing of target networks. It describes one axis at a time, because windows and weights are
products over the axes.

Reference: Klocek et al. 2019, Section 4.2 ("overlapping parts of fixed sizes ... (weighted)
average of values returned by all target networks covering this coordinate"). The paper does not
state the size of the parts, their overlap and their weights.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hyperfunc.pixels.coords import Axis, Samples

Profile = Literal["tent", "box"]


class Cover(NamedTuple):
    """The windows, at most m, that cover each of n positions along one axis."""

    index: Int[Array, "n m"]
    weight: Float[Array, "n m"]
    """It sums to one over m, and is zero for a window that does not exist."""
    local: Float[Array, "n m"]
    """The position in the window's own frame, whose ends are -1 and 1."""


class WindowAxis(NamedTuple):
    """The windows along one axis: window k is centred at ``first + k * stride`` input pixels."""

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
        """Find the windows that cover each position, in input pixels.

        Between its centre and the border, the first window keeps the weight of its centre, and so
        does the last: every position is covered, and no weight is a quotient of zeros. ``exists``
        is 0 for windows that only pad a tile.
        """
        last = self.first + (self.count - 1) * self.stride
        inside = jnp.clip(positions, self.first, last)
        # A box is half open, so that a position belongs to only one of two adjacent boxes.
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
        """Return the largest number of samples of ``axis`` that one window can hold.

        The first and the last window also hold the samples beyond them, up to half a pixel outside
        the image.
        """
        beyond = max(0.5 + self.first - self.half_width, 0.0)
        return min(axis.count, math.ceil((2 * self.half_width + beyond) / axis.min_step) + 1)


@dataclasses.dataclass(frozen=True)
class WindowLayout:
    """Where the windows of a functional image lie, in pixels of the input image.

    Attributes:
        size: extent of a window; 0 means one window over the whole image.
        stride: distance between neighbouring windows, at most ``size``.
        overhang: by how much the first window begins outside the image.
        profile: weights of the windows that cover a point: "tent" (falling to zero at a window's
            ends) or "box" (all equal).
    """

    size: int = 2
    stride: int = 1
    overhang: float = 0.5
    profile: Profile = "tent"

    def __post_init__(self) -> None:
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
        """Place windows along an axis of ``pixels`` input pixels."""
        if self.size == 0:
            return WindowAxis(1, pixels / 2, pixels, pixels / 2, self.profile)
        extent = pixels + 2 * self.overhang - self.size
        count = max(math.ceil(extent / self.stride) + 1, 1)
        stride = self.stride if count > 1 else self.size
        return WindowAxis(count, self.size / 2 - self.overhang, stride, self.size / 2, self.profile)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the number of windows (rows, columns) of an image of ``size``."""
        return self.axis(size[0]).count, self.axis(size[1]).count


PER_PIXEL = WindowLayout()
"""One window per input pixel, two pixels wide: bilinear blending of the four nearest cells."""

WHOLE_IMAGE = WindowLayout(size=0, overhang=0.0, profile="box")
"""One window over the whole image."""
