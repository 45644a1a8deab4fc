"""Cubic interpolation of images at real positions, in JAX: the base of a functional image.

It has the kernel and the mirrored border of `hyperfunc.pixels.resize`, but is differentiable and
takes any positions. Where a footprint is larger than a pixel the kernel widens, as that of MATLAB's
`imresize` does when it shrinks an image.
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from hyperfunc.pixels.coords import Axis, Samples, find_cells, mirror_indices
from hyperfunc.pixels.resize import cubic_kernel

UNROLLED_TAPS = 4
"""Up to so many taps, those of an enlargement, are unrolled; more are a loop, so that a great
reduction compiles as fast."""


def cubic_taps(
    cell: Int[Array, " n"],
    fraction: Float[Array, " n"],
    pixels: int,
    footprint: float | int | Float[Array, "#n"] | Float[Array, ""],
    widest: float | int,
) -> tuple[Int[Array, "n k"], Float[Array, "n k"]]:
    """Find the pixels that a cubic interpolation reads, and their weights, which sum to one.

    Args:
        cell: the pixel that each position lies in.
        fraction: the distance of the position from the pixel's edge, [0, 1).
        pixels: extent of the input.
        footprint: pixel pitch of the output, in input pixels; one for all positions or one for
            each. It may be traced.
        widest: the largest footprint over which is averaged; it bounds the number of taps k.
    """
    widest = max(widest, 1.0)
    width = jnp.clip(jnp.asarray(footprint), 1.0, widest).reshape(-1, 1)
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
    # Rows come last, because they take most of the work and can be read whole.
    for axis, samples in ((2, cols), (1, rows)):
        index, weight = cubic_taps(
            *samples.split(), images.shape[axis], samples.max_step, samples.max_step
        )
        images = _sum_taps(images, axis, index, weight)
    return images


def interpolate_points(
    images: Float[Array, "b h w c"],
    positions: Float[Array, "n 2"],
    footprint: Float[Array, "#n 2"],
    widest: float | int,
) -> Float[Array, "b n c"]:
    """Interpolate at scattered positions (y, x).

    The footprint is one for all positions, or one for each. Both are in input pixels; ``widest`` is
    that of `cubic_taps`.
    """
    (row, row_weight), (col, col_weight) = (
        cubic_taps(*find_cells(positions[:, i]), images.shape[i + 1], footprint[:, i], widest)
        for i in range(2)
    )
    patches = images[:, row[:, :, None], col[:, None, :]]
    return jnp.einsum("bnijc,ni,nj->bnc", patches, row_weight, col_weight)


def _sum_taps(
    images: Float[Array, "b h w c"],
    axis: int,
    index: Int[Array, "n k"],
    weight: Float[Array, "n k"],
) -> Float[Array, "b y x c"]:
    """Add up the taps one after the other, by a loop if there are many."""
    around = (1,) * axis, (1,) * (3 - axis)

    def read(index: Int[Array, " n"], weight: Float[Array, " n"]) -> Float[Array, "b y x c"]:
        return jnp.take(images, index, axis=axis, mode="clip") * weight.reshape(
            *around[0], -1, *around[1]
        )

    def add(total: Float[Array, "b y x c"], tap: tuple[Array, Array]) -> tuple[Array, None]:
        return total + read(*tap), None

    first, others = (index[:, 0], weight[:, 0]), (index.T[1:], weight.T[1:])
    unroll = index.shape[1] <= UNROLLED_TAPS
    return lax.scan(add, read(*first), others, unroll=unroll)[0]
