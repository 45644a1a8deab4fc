"""The coordinate convention, and the only file that knows it.

An image fills the unit square. Axes come in the order (y, x); pixel i of n is the interval
[i / n, (i + 1) / n] and its value belongs to the centre (i + 0.5) / n. A *position* is a coordinate
in units of input pixels (coordinate times n), so pixel i is centred at position i + 0.5. A
*footprint* is the pixel pitch for which a value is asked, in input pixels: 1 / scale.

`Axis` and `Samples` describe the positions along one axis in the same way. The step of an `Axis` is
static, that of `Samples` is traced; both have bounds on it that are known when compiling.
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

MAX_POSITION = 2.0**24
"""The farthest position, in pixels: beyond it float32 cannot tell two neighbouring pixels apart."""


class Axis(NamedTuple):
    """Evenly spaced sample positions along one axis, in input pixels.

    Sample i lies at ``start + (i + 0.5) * step``; ``step`` is also the footprint. ``start`` may be
    traced, so that one compiled function serves every tile and every phase of training.
    """

    start: float | jax.Array
    step: float
    count: int

    def positions(self) -> Float[Array, " n"]:
        """Return the positions of all samples, in input pixels."""
        return self.start + (jnp.arange(self.count) + 0.5) * self.step

    def split(self) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
        """Split positions into the pixel of each and its distance from the pixel's edge, [0, 1].

        Unless ``start`` is traced they are exact, where float32 positions are off by 1e-5 or more.
        """
        if isinstance(self.start, float | int):
            cell, fraction = split_positions(self.start, self.step, np.arange(self.count))
            return jnp.asarray(cell), jnp.asarray(fraction)
        return find_cells(self.positions())

    @property
    def min_step(self) -> float:
        """A lower bound on ``step`` that is known when compiling."""
        return self.step

    @property
    def max_step(self) -> float:
        """An upper bound on ``step`` that is known when compiling."""
        return self.step

    @property
    def slots(self) -> int:
        """The largest number of samples within one pixel's length."""
        return min(math.ceil(1 / self.step - 1e-6), self.count)


class Samples(NamedTuple):
    """The samples of an `Axis` as arrays, so that one compiled function serves many axes.

    For enlarging only: ``step`` is at most 1.
    """

    cell: Int[Array, " n"]
    fraction: Float[Array, " n"]
    step: Float[Array, ""]
    slots: int

    @property
    def min_step(self) -> float:
        """A lower bound on ``step`` that is known when compiling."""
        return 1 / self.slots

    @property
    def max_step(self) -> float:
        """An upper bound on ``step`` that is known when compiling."""
        return 1.0

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.cell.shape[0]

    def positions(self) -> Float[Array, " n"]:
        """Return the positions of all samples, in input pixels."""
        return self.cell + self.fraction

    def split(self) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
        """Return the pixel of each position and its distance from the pixel's edge, [0, 1]."""
        return self.cell, self.fraction


def split_positions(
    start: float, step: float, index: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Split the positions of the samples ``index`` of an `Axis`, computed in float64."""
    positions = start + (index + 0.5) * step
    cell = np.floor(positions)
    return cell.astype(np.int32), (positions - cell).astype(np.float32)


def find_cells(positions: Float[Array, " n"]) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """Return the pixel of each position, and its distance from the pixel's edge."""
    cell = jnp.floor(positions)
    return cell.astype(int), positions - cell


def parse_scale(text: str) -> tuple[float, float]:
    """Parse a scale: "3", "2.5", or "2.5x1" (rows x columns).

    Raises:
        UserError: the text is not one or two finite numbers above 0.
    """
    try:
        parts = [float(part) for part in text.lower().split("x")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or not all(math.isfinite(p) and p > 0 for p in parts):
        raise UserError(
            f"scale {text!r} cannot be used: give a number above 0, such as 3 or 2.5, or two for "
            "rows and columns, such as 2.5x1"
        )
    return parts[0], parts[-1]


def enlarge(extent: float | int, scale: float | int) -> int:
    """Return the number of pixels of an enlarged extent, rounded half up, at least one."""
    return max(math.floor(min(extent * scale, 1e18) + 0.5), 1)


def integer_scale(size: Size, cells: Size) -> int | None:
    """Return the scale at which an image of ``cells`` pixels has ``size``.

    None if the scale is no integer or differs between the axes.
    """
    scale = size[0] // cells[0]
    fits = all(scale * n == pixels for n, pixels in zip(cells, size, strict=True))
    return scale if scale and fits else None


def choose_size(
    extent: tuple[float | int, float | int],
    height: int | None,
    width: int | None,
    scale: float | int | np.number | tuple[float | int, float | int] | None,
) -> Size:
    """Choose the size of a picture of ``extent`` input pixels, given a size or a scale.

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
    """Place ``count`` samples evenly over an interval (low, high) of [0, 1].

    The input image has ``input_pixels`` along this axis.
    """
    low, high = window
    return Axis(low * input_pixels, (high - low) * input_pixels / count, count)


def pixel_centres(size: Size) -> Float[Array, "h w 2"]:
    """Return the coordinates (y, x) in [0, 1] of the pixel centres of an image of ``size``."""
    height, width = size
    rows = (jnp.arange(height) + 0.5) / height
    cols = (jnp.arange(width) + 0.5) / width
    return jnp.stack(jnp.meshgrid(rows, cols, indexing="ij"), axis=-1)


def find_lines(coords: Coords) -> tuple[Float[Array, " h"], Float[Array, " w"]] | None:
    """Return the y of the rows and the x of the columns of a grid of points [h, w, 2].

    None if the points are no such grid, or are traced.
    """
    if isinstance(coords, Tracer) or coords.ndim != 3 or not coords.size:
        return None
    points = np.asarray(coords)  # NumPy's, because other arrays may be traced at the same time.
    rows, cols = points[:, :1, 0], points[:1, :, 1]
    is_grid = (points[..., 0] == rows).all() and (points[..., 1] == cols).all()
    return (jnp.asarray(rows[:, 0]), jnp.asarray(cols[0])) if is_grid else None


def to_positions(coords: Coords, size: Size) -> Coords:
    """Turn coordinates in [0, 1] into positions in pixels of an image of ``size``."""
    positions = jnp.stack([coords[..., i] * size[i] for i in range(2)], axis=-1)
    # XLA computes a position again wherever it is used, and on a CPU may contract its product with
    # a sum that follows, which is then rounded once instead of twice. An index and the weights that
    # belong to it would disagree by one where both round a whole number. This prevents it.
    return jnp.clip(positions, -MAX_POSITION, MAX_POSITION)


def mirrored(coords: Float[Array, "*points"], extent: float | int = 1.0) -> Float[Array, "*points"]:
    """Fold coordinates outside [0, extent] back inside: the image is mirrored at its border."""
    rest = jnp.mod(coords, 2.0 * extent)
    folded = jnp.minimum(rest, 2.0 * extent - rest)
    # Inside, the value itself, so that it is not rounded and has a derivative on the border.
    return jnp.where((coords >= 0) & (coords <= extent), coords, folded)


def is_reflected(coords: Float[Array, "*points"]) -> Bool[Array, "*points"]:
    """Whether `mirrored` runs backwards at a point, so that odd derivatives change their sign."""
    return (jnp.mod(coords, 2.0) > 1.0) & ((coords < 0) | (coords > 1))


def mirror_indices(index: Any, pixels: Any) -> Any:
    """Fold pixel numbers outside [0, pixels) back inside: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...

    As in MATLAB, the border pixel is repeated. ``pixels`` is at least 1; one number, or one for
    each index. Arrays are of NumPy or of JAX.
    """
    rest = index % (2 * pixels)
    return rest + (rest >= pixels) * (2 * pixels - 1 - 2 * rest)
