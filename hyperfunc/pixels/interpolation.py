"""Cubic interpolation of an image at real positions: the base that a functional image corrects.

The same kernel and the same symmetric border as `hyperfunc.pixels.resize`, but in JAX,
differentiable, and at any positions. Where a footprint is larger than a pixel the kernel widens, as
MATLAB's `imresize` does when it shrinks an image.

Reference: Keys 1981, "Cubic convolution interpolation for digital image processing" (a = -0.5).
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from hyperfunc.pixels.border import mirror_indices
from hyperfunc.pixels.coords import Axis, Samples

UNROLLED = 4
"""So many taps, of an enlargement, are written out; more, of a reduction, are a loop."""


def cubic_kernel(distance: Float[Array, "..."]) -> Float[Array, "..."]:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = jnp.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return jnp.where(x <= 1, near, jnp.where(x < 2, far, 0.0))


def cubic_taps(
    cell: Int[Array, " n"],
    fraction: Float[Array, " n"],
    pixels: int,
    footprint: float | int | Float[Array, " n"],
    widest: float | int | None = None,
) -> tuple[Int[Array, "n k"], Float[Array, "n k"]]:
    """Pixels that a cubic interpolation reads, and their weights (which sum to one).

    Args:
        cell: the pixel that each position lies in.
        fraction: how far into it, [0, 1].
        pixels: extent of the input.
        footprint: pixel pitch of the output, in input pixels; one for all positions or one for
            each, which may be traced.
        widest: bounds the footprint, because the number of taps k is static; needed only where
            there is a footprint for each position.
    """
    if isinstance(footprint, float | int):
        widest = max(footprint, 1.0)
        width = widest
    else:
        if widest is None:
            raise ValueError("footprints that differ between positions need a bound, `widest`")
        widest = max(widest, 1.0)
        width = jnp.clip(footprint, 1.0, widest)[:, None]
    taps = math.ceil(4 * widest) + (widest > 1)
    offset = fraction[:, None] - 0.5
    first = jnp.floor(offset - 2 * width).astype(int) + 1
    relative = first + jnp.arange(taps)[None]
    index = cell[:, None] + relative
    weight = cubic_kernel((offset - relative) / width)
    weight = weight / weight.sum(axis=-1, keepdims=True)
    return mirror_indices(index, pixels), weight


def interpolate_grid(
    images: Float[Array, "b h w c"], rows: Axis | Samples, cols: Axis | Samples
) -> Float[Array, "b y x c"]:
    """Interpolate on a separable grid, one axis after the other."""
    # Rows last: there whole rows are read, and most of the work is done.
    for axis, samples in ((2, cols), (1, rows)):
        footprint = samples.step if isinstance(samples.step, float | int) else 1.0
        index, weight = cubic_taps(*samples.split(), images.shape[axis], footprint)
        images = _sum_taps(images, axis, index, weight)
    return images


def _sum_taps(
    images: Float[Array, "b h w c"],
    axis: int,
    index: Int[Array, "n k"],
    weight: Float[Array, "n k"],
) -> Float[Array, "b y x c"]:
    """Add up one tap after the other; the program is no larger for many than for few."""
    around = (1,) * axis, (1,) * (3 - axis)

    def read(index: Int[Array, " n"], weight: Float[Array, " n"]) -> Float[Array, "b y x c"]:
        return jnp.take(images, index, axis=axis) * weight.reshape(*around[0], -1, *around[1])

    def add(total: Float[Array, "b y x c"], tap: tuple[Array, Array]) -> tuple[Array, None]:
        return total + read(*tap), None

    first, others = (index[:, 0], weight[:, 0]), (index.T[1:], weight.T[1:])
    return lax.scan(add, read(*first), others, unroll=index.shape[1] <= UNROLLED)[0]


def interpolate_points(
    images: Float[Array, "b h w c"],
    positions: Float[Array, "n 2"],
    footprint: tuple[float, float] | Float[Array, "n 2"],
    widest: float | int | None = None,
) -> Float[Array, "b n c"]:
    """Interpolate at scattered positions (y, x), in input pixels; arguments as for `cubic_taps`."""
    pitches = footprint if isinstance(footprint, tuple) else (footprint[:, 0], footprint[:, 1])
    cells = jnp.floor(positions)
    (row, row_weight), (col, col_weight) = (
        cubic_taps(
            cells[:, i].astype(int),
            positions[:, i] - cells[:, i],
            images.shape[i + 1],
            pitches[i],
            widest,
        )
        for i in range(2)
    )
    patches = images[:, row[:, :, None], col[:, None, :]]
    return jnp.einsum("bnijc,ni,nj->bnc", patches, row_weight, col_weight)
