"""The coordinate convention, and the only file that knows it.

An image fills the unit square. Axes come in the order (y, x); pixel i of n is the interval
[i / n, (i + 1) / n] and its value belongs to the centre (i + 0.5) / n. A *position* is a coordinate
in units of input pixels (coordinate times n), so pixel i is centred at position i + 0.5. A
*footprint* is the pixel pitch that a value is asked for, in input pixels: 1 / scale.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from hyperfunc.errors import UserError
from hyperfunc.types import Coords, Size


class Axis(NamedTuple):
    """Evenly spaced sample positions along one axis, in input pixels.

    Sample i lies at ``start + (i + 0.5) * step``; ``step`` is also the footprint. ``start`` may be
    a traced value, so that one compiled function serves every tile and every training phase.
    """

    start: float | jax.Array
    step: float
    count: int

    def positions(self) -> Float[Array, " n"]:
        """Positions of all samples, in input pixels."""
        return self.start + (jnp.arange(self.count) + 0.5) * self.step

    def split(self) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
        """Positions as the pixel that each lies in and how far into it, [0, 1].

        As float32 a position of some hundreds is off by 1e-5 or more; the parts are not, unless
        ``start`` is traced.
        """
        if isinstance(self.start, float | int):
            cell, fraction = split_positions(self.start, self.step, np.arange(self.count))
            return jnp.asarray(cell), jnp.asarray(fraction)
        positions = self.positions()
        cell = jnp.floor(positions)
        return cell.astype(int), positions - cell

    @property
    def max_step(self) -> float:
        """A bound on ``step`` that is known when compiling."""
        return self.step

    @property
    def slots(self) -> int:
        """The largest number of samples within one pixel's length."""
        return min(math.ceil(1 / self.step - 1e-6), self.count)


class Samples(NamedTuple):
    """The samples of an `Axis` as arrays, so that one compiled function serves many of them.

    For enlarging only: ``step`` is at most 1.
    """

    cell: Int[Array, " n"]
    fraction: Float[Array, " n"]
    step: Float[Array, ""]
    slots: int

    @property
    def max_step(self) -> float:
        """A bound on ``step`` that is known when compiling."""
        return 1.0

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.cell.shape[0]

    def positions(self) -> Float[Array, " n"]:
        """Positions of all samples, in input pixels."""
        return self.cell + self.fraction

    def split(self) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
        """Positions as the pixel that each lies in and how far into it, [0, 1]."""
        return self.cell, self.fraction


def split_positions(
    start: float, step: float, index: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Positions of samples, computed in float64: the pixel, and how far into it."""
    positions = start + (index + 0.5) * step
    cell = np.floor(positions)
    return cell.astype(np.int32), (positions - cell).astype(np.float32)


def parse_scale(text: str) -> tuple[float, float]:
    """Read a scale: "3", "2.5", or "2.5x1" (rows x columns).

    Raises:
        UserError: it is not one or two finite numbers of at least 1.
    """
    try:
        parts = [float(part) for part in text.lower().split("x")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or not all(math.isfinite(p) and p >= 1 for p in parts):
        raise UserError(
            f"scale {text!r} cannot be used: give a number of at least 1, such as 3 or 2.5, or two "
            "for rows and columns, such as 2.5x1"
        )
    return parts[0], parts[-1]


def enlarge(extent: float | int, scale: float | int) -> int:
    """Pixels of an extent of input pixels at a scale: rounded half up, at least one."""
    return max(math.floor(min(extent * scale, 1e18) + 0.5), 1)


def integer_scale(size: Size, cells: Size) -> int | None:
    """The scale at which an image of ``cells`` has ``size``, whole and that of both axes."""
    scale = size[0] // cells[0]
    fits = all(scale * n == pixels for n, pixels in zip(cells, size, strict=True))
    return scale if scale and fits else None


def choose_size(
    extent: tuple[float | int, float | int],
    height: int | None,
    width: int | None,
    scale: float | int | np.number | tuple[float | int, float | int] | None,
) -> Size:
    """The size of a picture of ``extent`` input pixels, from a size or a scale.

    Raises:
        ValueError: neither or both are given, or the result has less than one pixel.
    """
    if (scale is None) == (height is None and width is None):
        raise ValueError("give either height and width or a scale")
    if scale is not None:
        scales = np.ravel(scale).tolist()
        scales = scales * 2 if np.ndim(scale) == 0 else scales
        if len(scales) != 2 or not all(0 < one < math.inf for one in scales):
            raise ValueError(f"a scale is one or two positive numbers, not {scale}")
        height, width = (enlarge(n, one) for n, one in zip(extent, scales, strict=True))
    if height is None or width is None:
        raise ValueError(f"height {height} and width {width}: give both")
    if not (_is_whole(height) and _is_whole(width) and height >= 1 and width >= 1):
        raise ValueError(
            f"cannot render {height} x {width} pixels: give whole numbers, at least 1 x 1"
        )
    return int(height), int(width)


def _is_whole(number: Any) -> bool:
    try:
        return int(number) == number
    except (TypeError, ValueError, OverflowError):
        return False


def axis_over(window: tuple[float, float], count: int, input_pixels: int) -> Axis:
    """Place ``count`` samples over an interval of the unit square.

    Args:
        window: the interval (low, high), coordinates in [0, 1].
        count: the number of samples (output pixels).
        input_pixels: the extent of the input image along this axis, in pixels.
    """
    low, high = window
    return Axis(low * input_pixels, (high - low) * input_pixels / count, count)


def pixel_centres(size: Size) -> Float[Array, "h w 2"]:
    """Coordinates (y, x) in [0, 1] of the pixel centres of an image of ``size``."""
    height, width = size
    rows = (jnp.arange(height) + 0.5) / height
    cols = (jnp.arange(width) + 0.5) / width
    return jnp.stack(jnp.meshgrid(rows, cols, indexing="ij"), axis=-1)


def find_lines(coords: Coords) -> tuple[Float[Array, " h"], Float[Array, " w"]] | None:
    """The y of the rows and the x of the columns, if points [h, w, 2] are where they cross."""
    if isinstance(coords, Tracer) or coords.ndim != 3 or not coords.size:
        return None
    points = np.asarray(coords)  # A grid that is known may be asked about while others are traced.
    rows, cols = points[:, :1, 0], points[:1, :, 1]
    is_grid = (points[..., 0] == rows).all() and (points[..., 1] == cols).all()
    return (jnp.asarray(rows[:, 0]), jnp.asarray(cols[0])) if is_grid else None


def to_positions(coords: Coords, size: Size) -> Coords:
    """Turn coordinates in [0, 1] into positions in pixels of an image of ``size``."""
    return jnp.stack([coords[..., i] * size[i] for i in range(2)], axis=-1)


def mirrored(coords: Float[Array, "*points"], extent: float | int = 1.0) -> Float[Array, "*points"]:
    """Fold what lies beyond [0, extent] back inside: the image is mirrored at its border."""
    rest = jnp.mod(coords, 2.0 * extent)
    folded = jnp.minimum(rest, 2.0 * extent - rest)
    # Inside, the value itself: no rounding, and a derivative on the border too.
    return jnp.where((coords >= 0) & (coords <= extent), coords, folded)


def is_reflected(coords: Float[Array, "*points"]) -> Bool[Array, "*points"]:
    """Whether `mirrored` runs backwards there, so that odd derivatives change their sign."""
    return (jnp.mod(coords, 2.0) > 1.0) & ((coords < 0) | (coords > 1))
