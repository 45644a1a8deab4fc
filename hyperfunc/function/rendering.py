"""The ways from a functional image to values: on grids, and at scattered points. All agree.

Training, evaluation and everything else go through the functions here. Three renderers do the work:

- `_render_windows` is the definition: evaluate every window on the samples that it covers, and add
  up.
- `hyperfunc.function.fourier_grid` serves a Fourier series per pixel on any grid. It reorders the
  sums: exp(i w x) is applied by rows, then by columns.
- `hyperfunc.function.fourier_phases` serves a Fourier series per pixel at an integer scale, where
  all cells share the same sample positions: a 2 x 2 convolution from features to pixels.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hyperfunc.function.fourier_grid import render_fourier_grid
from hyperfunc.function.fourier_phases import render_fourier_phases
from hyperfunc.function.functional_image import FunctionalImage
from hyperfunc.pixels import (
    Axis,
    Cover,
    Samples,
    WindowAxis,
    axis_over,
    integer_scale,
    interpolate_grid,
    interpolate_points,
    to_positions,
)
from hyperfunc.types import Coords, Size, Theta

Samplings = Axis | Samples
"""Where one axis is sampled."""

ROWS_AT_ONCE = 8
"""Up to so many rows of windows are evaluated at once; of more, one after the other, so that they
stay in the processor's cache."""


def render(
    function: FunctionalImage,
    size: Size,
    *,
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> Float[Array, "b y x c"]:
    """Render at any size, any aspect, any part.

    Args:
        function: what to render.
        size: (height, width) of the result in pixels.
        window: the part of the image to show, (top, left, bottom, right) in coordinates of [0, 1].

    Raises:
        ValueError: a size below one pixel, or a window that is empty or reaches out of the image.
    """
    top, left, bottom, right = window
    if min(size) < 1:
        raise ValueError(f"cannot render an image of size {size}: both sides need at least 1 pixel")
    if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
        raise ValueError(
            f"the window {window} is empty or not within the image: give (top, left, bottom, "
            "right), increasing, between 0 and 1"
        )
    scale = integer_scale(size, function.size)
    if window == (0.0, 0.0, 1.0, 1.0) and scale:
        return render_phases(function, scale)
    rows = axis_over((top, bottom), size[0], function.size[0])
    cols = axis_over((left, right), size[1], function.size[1])
    return render_grid(function, rows, cols)


def render_grid(
    function: FunctionalImage, rows: Samplings, cols: Samplings
) -> Float[Array, "b y x c"]:
    """Render on any separable grid of positions."""
    draw = render_fourier_grid if function.is_field_per_pixel else _render_windows
    image = draw(function, rows, cols)
    if function.base is None:
        return image
    share = function.field_share((rows.step, cols.step))
    return share * image + interpolate_grid(function.base, rows, cols)


def render_phases(
    function: FunctionalImage,
    scale: int,
    *,
    phase: Float[Array, " 2"] | None = None,
    fast_gradients: bool = False,
) -> Float[Array, "b y x c"]:
    """Render at an integer scale, on a grid that may be shifted by a fraction of a pixel.

    Output pixel k lies at position (k + 0.5 - phase) / scale.

    Args:
        function: what to render.
        scale: output pixels per input pixel.
        phase: (y, x) shift in output pixels, between -scale / 2 and scale / 2; may be traced.
            Training data have random phases, so that integer scales cover all positions.
        fast_gradients: whether to use a product with a fast gradient where there is one; values
            stay the same.
    """
    phase = jnp.zeros(2) if phase is None else phase
    if function.is_field_per_pixel:
        return render_fourier_phases(function, scale, phase, fast_gradients=fast_gradients)
    rows, cols = (
        Axis(-shift / scale, 1 / scale, pixels * scale)
        for shift, pixels in zip(phase, function.size, strict=True)
    )
    return render_grid(function, rows, cols)


def sample(
    function: FunctionalImage,
    coords: Coords,
    *,
    footprint: tuple[float, float] | Coords | None = None,
    widest: float | int | None = None,
) -> Float[Array, "b *points c"]:
    """Evaluate at any coordinates (y, x) in [0, 1].

    Args:
        function: what to evaluate.
        coords: the points, the same for every image of the batch.
        footprint: the pixel pitch (y, x) for which values are asked, in pixels of the encoded
            image: one for all points, or an array with one for each point, which may be traced; 1
            (that image's own) if not given.
        widest: the largest footprint over which the base is averaged; it is static because it
            bounds the number of pixels that are read. It may be left out for one footprint of all
            points.

    Raises:
        ValueError: each point has its own footprint, and ``widest`` is missing.
    """
    footprint = (1.0, 1.0) if footprint is None else footprint
    if widest is None:
        if not isinstance(footprint, tuple):
            raise ValueError("footprints that differ between points need a bound: give `widest`")
        widest = max(footprint)
    positions = to_positions(coords.reshape(-1, 2), function.size)
    pitch = jnp.asarray(footprint).reshape(-1, 2)
    steps = jnp.broadcast_to(pitch, positions.shape)
    values = jnp.einsum("nbijc,nij->bnc", *evaluate_windows(function, positions, steps))
    if function.base is not None:
        share = function.field_share((steps[:, 0], steps[:, 1]))
        base = interpolate_points(function.base, positions, pitch, widest)
        values = jnp.broadcast_to(share, positions.shape[:1])[None, :, None] * values + base
    return values.reshape(values.shape[0], *coords.shape[:-1], values.shape[-1])


def evaluate_windows(
    function: FunctionalImage, positions: Float[Array, "n 2"], pitch: Float[Array, "n 2"]
) -> tuple[Float[Array, "n b i j c"], Float[Array, "n i j"]]:
    """Evaluate the windows that cover each point, without adding them up; all in input pixels.

    Return the values of i rows and j columns of windows, and their weights, which sum to one.
    """
    axes = [function.layout.axis(pixels) for pixels in function.size]
    row, col = (axis.cover(positions[:, i], function.exists[i]) for i, axis in enumerate(axes))
    half = jnp.array([[axis.half_width for axis in axes]])
    theta = function.prepared()

    def at_point(pitch: Array, row: Cover, col: Cover) -> tuple[Array, Array]:
        cells = theta.select(row.index[:, None], col.index[None, :])
        local = jnp.stack(jnp.meshgrid(row.local, col.local, indexing="ij"), axis=-1)
        one = lambda cell, x: function.target.apply(cell, function.shared, x, pitch)  # noqa: E731
        over_windows = jax.vmap(jax.vmap(one))
        values = jax.vmap(over_windows, in_axes=(0, None))(cells, local)
        return values, jnp.outer(row.weight, col.weight)

    return jax.vmap(at_point)(pitch / half, row, col)


def _render_windows(
    function: FunctionalImage, rows: Samplings, cols: Samplings
) -> Float[Array, "b y x c"]:
    """Evaluate each window on the samples it covers, weight, and add up."""
    row_axis, col_axis = (function.layout.axis(pixels) for pixels in function.size)
    row_slot, row_local, row_weight = _window_slots(row_axis, rows, function.exists[0])
    col_slot, col_local, col_weight = _window_slots(col_axis, cols, function.exists[1])
    pitch = jnp.array([rows.step / row_axis.half_width, cols.step / col_axis.half_width])

    def one_point(theta: Theta, y: Array, x: Array) -> Array:
        return function.target.apply(theta, function.shared, jnp.stack([y, x]), pitch)

    def one_window(theta: Theta, ys: Array, xs: Array) -> Array:
        return jax.vmap(jax.vmap(one_point, (None, None, 0)), (None, 0, None))(theta, ys, xs)

    def one_row(theta: Theta, ys: Array) -> Array:
        prepare = functools.partial(function.target.prepare, shared=function.shared)
        return jax.vmap(one_window, (0, None, 0))(jax.vmap(prepare)(theta), ys, col_local)

    def one_image(theta: Theta) -> Array:
        if row_axis.count <= ROWS_AT_ONCE:
            return jax.vmap(one_row)(theta, row_local)
        return jax.lax.map(lambda row: one_row(*row), (theta, row_local))

    values = jax.vmap(one_image)(function.expanded())
    values *= row_weight[None, :, None, :, None, None] * col_weight[None, None, :, None, :, None]
    if (
        row_axis.count == col_axis.count == 1
        and row_slot.size == rows.count
        and col_slot.size == cols.count
    ):
        return values[:, 0, 0]
    canvas = jnp.zeros((values.shape[0], rows.count, cols.count, values.shape[-1]), values.dtype)
    return canvas.at[:, row_slot[:, None, :, None], col_slot[None, :, None, :]].add(values)


def _window_slots(
    axis: WindowAxis, samples: Samplings, exists: Float[Array, " k"]
) -> tuple[Int[Array, "k s"], Float[Array, "k s"], Float[Array, "k s"]]:
    """Find the samples that each window covers: index, local position, and weight (zero: none)."""
    positions = samples.positions()
    cover = axis.cover(positions, exists)
    centres = axis.first + jnp.arange(axis.count) * axis.stride
    # A little early, so that rounding cannot separate a sample from its window.
    first = jnp.searchsorted(positions, centres - axis.half_width * (1 + 1e-4))
    first = first.at[0].set(0)  # The first window also serves what lies before it.
    slots = axis.slots(samples)
    index = jnp.clip(first, 0, samples.count - slots)[:, None] + jnp.arange(slots)[None]
    belongs = cover.index[index] == jnp.arange(axis.count)[:, None, None]
    weight = jnp.where(belongs, cover.weight[index], 0.0).sum(axis=-1)
    local = (positions[index] - centres[:, None]) / axis.half_width
    return index, local, weight
