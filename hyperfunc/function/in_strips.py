"""Compiled rendering and evaluation of one functional image in bounded memory.

The parameters of a Fourier series per pixel are hundreds of numbers for each pixel. They are kept
as a product of features and a kernel, which the renderers multiply out. The functions here render a
grid in strips of rows, and evaluate a few thousand points at a time, so that the products of only
one part are in memory. All of them can be traced and differentiated.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from hyperfunc.function import blur
from hyperfunc.function.disagreement import disagreement
from hyperfunc.function.functional_image import FunctionalImage, cut_windows
from hyperfunc.function.rendering import render, render_grid, sample
from hyperfunc.pixels import (
    Axis,
    axis_over,
    integer_scale,
    interpolate_grid,
    is_reflected,
    mirrored,
)
from hyperfunc.types import Size
from hyperfunc.values import decode_srgb, encode_srgb

MAX_FOOTPRINT = 16.0
"""Largest footprint that `bound_footprint` returns, in input pixels."""

MAX_FOOTPRINT_TRACED = 4.0
"""What it returns for traced footprints, whose maximum is unknown when compiling."""

STRIP_SIZE = 2**16
"""Cells or output pixels of a strip, whichever are more."""

NUMBERS_AT_ONCE = 2**25
"""About how many parameters and pixels a batch of points reads."""


def bound_footprint(footprint: Array) -> float:
    """Return a static bound on footprints, a power of two, so that few are ever compiled.

    Raises:
        ValueError: one is negative, or no finite number.
    """
    if isinstance(footprint, Tracer):
        return MAX_FOOTPRINT_TRACED
    least, largest = (float(f(footprint)) if footprint.size else 1.0 for f in (jnp.min, jnp.max))
    if not 0 <= least <= largest < math.inf:
        wrong = largest if least >= 0 else least
        raise ValueError(f"a footprint of {wrong}: give finite numbers from 0 on, in input pixels")
    return min(2.0 ** math.ceil(math.log2(max(largest, 1.0) * (1 - 1e-4))), MAX_FOOTPRINT)


def render_part(
    function: FunctionalImage,
    part: tuple[float | int, float | int, float | int, float | int],
    size: Size,
    *,
    sigma: float | int = 0,
) -> Float[Array, "y x c"]:
    """Render a part (top, left, bottom, right), in [0, 1], of one image.

    The blur has the standard deviation sigma, in input pixels.
    """
    if sigma == 0 and part == (0, 0, 1, 1):
        return _render_whole(function, size)
    axes = [axis_over((part[i], part[i + 2]), size[i], function.size[i]) for i in range(2)]
    # The origin is traced, so that panning with a part of one size compiles once.
    origin = jnp.asarray([axis.start for axis in axes], jnp.float32)
    steps = (float(f"{axes[0].step:.9g}"), float(f"{axes[1].step:.9g}"))
    return _render_window(function, origin, steps, size, sigma)


@functools.partial(jax.jit, static_argnames=("part", "size", "sigma"))
def render_light(
    function: FunctionalImage,
    part: tuple[float | int, float | int, float | int, float | int],
    size: Size,
    *,
    sigma: float | int = 0,
) -> Float[Array, "y x c"]:
    """Average the light of the pixels that the image has at its own size; see `render_part`.

    Values are taken as sRGB, clipped to [0, 1]. The part is to become smaller on both axes.
    """
    own = render_part(function, (0, 0, 1, 1), function.size, sigma=sigma)
    axes = [axis_over((part[i], part[i + 2]), size[i], function.size[i]) for i in range(2)]
    return encode_srgb(interpolate_grid(decode_srgb(own)[None], *axes)[0])


@functools.partial(jax.jit, static_argnames=("size",))
def _render_whole(function: FunctionalImage, size: Size) -> Float[Array, "y x c"]:
    """Render the whole image at ``size``."""
    if integer_scale(size, function.size):
        return render(function, size)[0]
    rows, cols = (axis_over((0.0, 1.0), size[i], function.size[i]) for i in range(2))
    return _render_strips(function, rows, cols)


@functools.partial(jax.jit, static_argnames=("steps", "size", "sigma"))
def _render_window(
    function: FunctionalImage,
    origin: Float[Array, " 2"],
    steps: tuple[float, float],
    size: Size,
    sigma: float | int,
) -> Float[Array, "y x c"]:
    """Render ``size`` samples from ``origin`` on, ``steps`` apart (input pixels), blurred."""
    rows, cols = (Axis(origin[i], steps[i], size[i]) for i in range(2))
    if sigma == 0:
        return _render_strips(function, rows, cols)
    if function.is_field_per_pixel:
        return blur.render_blurred(function, rows, cols, sigma=sigma)
    positions = jnp.meshgrid(rows.positions(), cols.positions(), indexing="ij")
    coords = jnp.stack([p / n for p, n in zip(positions, function.size, strict=True)], axis=-1)
    pitch = jnp.broadcast_to(jnp.asarray(steps), coords.shape)
    widest = max(*steps, 1.0)
    values = evaluate_points(function, coords.reshape(-1, 2), pitch.reshape(-1, 2), sigma, widest)
    return values.reshape(*size, -1)


def _render_strips(function: FunctionalImage, rows: Axis, cols: Axis) -> Float[Array, "y x c"]:
    """Render a grid in strips of rows, reading only the columns that it needs."""
    if not function.is_field_per_pixel:
        return render_grid(function, rows, cols)[0]
    column_part, cols = _cut(function, 1, cols)
    count = max(STRIP_SIZE // max(column_part.size[1], cols.count), 1)
    strips = math.ceil(rows.count / count)
    if strips == 1:
        part, rows = _cut(column_part, 0, rows)
        return render_grid(part, rows, cols)[0]

    def strip(first: Array) -> Array:
        part, axis = _cut(column_part, 0, Axis(rows.start + first * rows.step, rows.step, count))
        return render_grid(part, axis, cols)[0]

    image = jax.lax.map(strip, jnp.arange(strips) * float(count))
    return image.reshape(strips * count, *image.shape[2:])[: rows.count]


def _cut(function: FunctionalImage, along: int, axis: Axis) -> tuple[FunctionalImage, Axis]:
    """Keep only what the samples of an axis read, a part of static extent."""
    halo = math.ceil(2 * max(axis.step, 1.0)) + 2
    extent = min(math.ceil(axis.step * axis.count) + 2 * halo + 1, function.size[along])
    last = function.size[along] - extent
    low = jnp.clip(jnp.floor(jnp.asarray(axis.start)).astype(int) - halo, 0, last)

    function = cut_windows(function, along, low, extent)
    return function, Axis(axis.start - low, axis.step, axis.count)


@functools.partial(jax.jit, static_argnames=("sigma", "widest"))
def evaluate_points(
    function: FunctionalImage,
    coords: Float[Array, "n 2"],
    footprint: Float[Array, "n 2"],
    sigma: float | int,
    widest: float | int,
) -> Float[Array, "n c"]:
    """Evaluate at points, `points_at_once`."""

    def evaluate(points: Array, pitch: Array) -> Array:
        points = mirrored(points)
        if sigma == 0:
            return sample(function, points, footprint=pitch, widest=widest)[0]
        return blur.sample_blurred(function, points, pitch, sigma=sigma, widest=widest)

    return _in_batches(evaluate, coords, footprint, points_at_once(function, sigma, widest))


@jax.jit
def measure_disagreement(
    function: FunctionalImage, coords: Float[Array, "n 2"], footprint: Float[Array, "n 2"]
) -> Float[Array, " n"]:
    """Compute the `disagreement` of the windows of one image, some points at once."""

    def evaluate(points: Array, pitch: Array) -> Array:
        return disagreement(function, mirrored(points), pitch)[0]

    batch = max(points_at_once(function, 0, 1) // 4, 4)  # It reads the windows at four points.
    return _in_batches(evaluate, coords, footprint, batch)


def _in_batches(
    evaluate: Callable[[Array, Array], Array],
    coords: Float[Array, "n 2"],
    footprint: Float[Array, "n 2"],
    batch: int,
) -> Float[Array, "n ..."]:
    """Apply a function of points and their footprints to ``batch`` points at once."""
    count = coords.shape[0]
    if count <= batch:
        return evaluate(coords, footprint)
    batches = math.ceil(count / batch)
    pad = [(0, batches * batch - count), (0, 0)]
    chunks = [jnp.pad(x, pad, mode="edge").reshape(-1, batch, 2) for x in (coords, footprint)]
    # Derivatives recompute each batch, so that their memory is bounded, too.
    values = jax.lax.map(jax.checkpoint(lambda chunk: evaluate(*chunk)), tuple(chunks))
    return values.reshape(batches * batch, *values.shape[2:])[:count]


@functools.partial(jax.jit, static_argnames=("orders", "sigma", "widest"))
def differentiate_grid(
    function: FunctionalImage,
    lines: tuple[Float[Array, " h"], Float[Array, " w"]],
    footprint: Float[Array, " 2"] | Float[Array, ""],
    orders: tuple[tuple[int, int], ...],
    sigma: float | int,
    widest: float | int,
) -> Float[Array, "h w c n"]:
    """Differentiate a blurred Fourier series per pixel where rows and columns cross.

    Args:
        function: what to evaluate.
        lines: y of the rows and x of the columns, in [0, 1]; beyond, the image is mirrored.
        footprint: the pixel pitch (y, x) everywhere; like sigma in input pixels.
        orders: of each derivative, along y and along x, per unit of the coordinates.
        sigma: standard deviation of the Gaussian.
        widest: as for `hyperfunc.function.sample`.
    """
    rows, cols = (mirrored(line) * n for line, n in zip(lines, function.size, strict=True))
    signs = [jnp.where(is_reflected(line), -1.0, 1.0) for line in lines]
    pitch = jnp.broadcast_to(footprint, (2,))

    def derivative(order: tuple[int, int]) -> Array:
        unit = math.prod(n**k for n, k in zip(function.size, order, strict=True))
        values = blur.differentiate_blurred(
            function, rows, cols, (pitch[0], pitch[1]), sigma=sigma, widest=widest, order=order
        )
        along_rows, along_cols = (sign**k for sign, k in zip(signs, order, strict=True))
        return unit * along_rows[:, None, None] * along_cols[None, :, None] * values

    return jnp.stack([derivative(order) for order in orders], axis=-1)


def points_at_once(function: FunctionalImage, sigma: float | int, widest: float | int) -> int:
    """Return how many points read about `NUMBERS_AT_ONCE` parameters and pixels."""
    per_window = function.theta.numbers_per_window
    read = math.prod(function.layout.axis(n).overlap for n in function.size)
    taps = (4 * widest + 1) ** 2 if widest > 1 else 16
    if sigma and function.is_field_per_pixel:
        # Complex coefficients of every window in reach, and the nodes of the integral.
        reach = 2 * blur.CUTOFF * sigma + 4 * widest + 4
        read = 2 * math.prod(min(blur.band_width(sigma), n) for n in function.size)
        taps = math.prod(min(reach, n) for n in function.size)
        per_window += 16
    elif sigma:
        read, taps = read * blur.HERMITE_NODES**2, taps * blur.HERMITE_NODES**2
    return int(min(max(NUMBERS_AT_ONCE // (per_window * read + 3 * taps), 16), 8192))
