"""The field of a window per pixel on any separable grid, without a dense basis.

Between the centres of two neighbouring pixels lies an *interval*; all samples in it see the same
two windows. exp(i w x) factors into rows and columns, so a field is evaluated by rows first, then
by columns. The first is a sum of broadcast products with columns innermost, the second a small
matrix product for each column of windows. Nothing is gathered for each sample, and a block of rows
with its intermediate results stays in the processor's cache.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hyperfunc.coords import Axis, Samples
from hyperfunc.targets import FourierField
from hyperfunc.types import Shared

BLOCK = 8
"""Intervals of rows that are worked on at a time."""


class Intervals(NamedTuple):
    """The samples of one axis, sorted into the intervals between n pixels' centres."""

    place: Int[Array, " count"]
    """Where each sample is, as interval * slots + slot."""
    fraction: Float[Array, "intervals slots"]
    """How far from the left to the right centre, [0, 1); anything in slots without a sample."""


def find_intervals(axis: Axis | Samples, pixels: int) -> Intervals:
    """Sort samples into pixels + 1 intervals, of which the first and the last reach to the border.

    Every interval has as many slots as the fullest can need.
    """
    slots = axis.slots
    cell, fraction = axis.split()
    is_right = fraction >= 0.5
    interval = cell + is_right
    fraction = fraction + jnp.where(is_right, -0.5, 0.5)
    first = jnp.searchsorted(interval, jnp.arange(pixels + 1))
    index = jnp.clip(first[:, None] + jnp.arange(slots)[None], 0, axis.count - 1)
    slot = jnp.arange(axis.count) - first[interval]
    return Intervals(interval * slots + slot, fraction[index])


def render_separable(
    target: FourierField,
    shared: Shared,
    coefficients: Float[Array, "d c b h w"],
    exists: tuple[Float[Array, " h"], Float[Array, " w"]],
    rows: Axis | Samples,
    cols: Axis | Samples,
) -> Float[Array, "b y x c"]:
    """Render a field with one window per pixel, two pixels wide, tent weights.

    Args:
        target: the field.
        shared: its frequencies.
        coefficients: those of the basis (cosines, negated sines, constant) for each pixel, with
            columns innermost.
        exists: for each axis 1 for windows of the image, 0 for those that pad a tile.
        rows: samples along y, within the image.
        cols: samples along x.
    """
    _, channels, batch, height, width = coefficients.shape
    real, imaginary = _complex(coefficients)
    row = find_intervals(rows, height)
    col = find_intervals(cols, width)
    row_cos, row_sin = _weighted_basis(target, shared, 0, row, exists[0], rows.step)
    col_cos, col_sin = _weighted_basis(target, shared, 1, col, exists[1], cols.step)
    # What each window adds to the interval on its right and to the one on its left: [w, 2 f, 2 s].
    table = jnp.concatenate([col_cos, -col_sin]).transpose(1, 2, 0, 3)
    table = jnp.concatenate([table[0, 1:], table[1, :-1]], axis=-1)

    slots, col_slots = row.fraction.shape[1], col.fraction.shape[1]
    block = min(BLOCK, height + 1)
    blocks = math.ceil((height + 1) / block)
    extra = blocks * block - (height + 1)
    around = ((0, 0), (0, 0), (0, 0), (1, 1 + extra), (0, 0))
    real, imaginary = jnp.pad(real, around), jnp.pad(imaginary, around)
    over = ((0, 0), (0, 0), (0, extra), (0, 0))
    row_cos, row_sin = jnp.pad(row_cos, over), jnp.pad(row_sin, over)

    def one_block(start: Array) -> Float[Array, "w s n"]:
        a, b = (
            jax.lax.dynamic_slice_in_dim(part, start, block + 1, axis=3)[..., None, :]
            for part in (real, imaginary)
        )
        cos, sin = (
            jax.lax.dynamic_slice_in_dim(part, start, block, axis=2)[:, :, None, None, ..., None]
            for part in (row_cos, row_sin)
        )
        up, down = np.s_[:, :, :, :-1], np.s_[:, :, :, 1:]
        p = a[up] * cos[:, 0] + a[down] * cos[:, 1] - b[up] * sin[:, 0] - b[down] * sin[:, 1]
        q = a[up] * sin[:, 0] + a[down] * sin[:, 1] + b[up] * cos[:, 0] + b[down] * cos[:, 1]
        tall = jnp.concatenate([p, q]).reshape(2 * len(p), -1, width).transpose(2, 0, 1)
        # [window, left and right slots, c b interval slot]
        shares = jax.lax.platform_dependent(
            table, tall, cpu=_product_for_each, default=_batched_product
        )
        shares = jnp.pad(shares, ((1, 1), (0, 0), (0, 0)))
        return shares[:-1, :col_slots] + shares[1:, col_slots:]

    values = jax.lax.map(one_block, jnp.arange(blocks) * block)
    # [block, column interval, slot, c b interval slot] -> rows, then columns.
    values = values.reshape(blocks, width + 1, col_slots, channels, batch, block, slots)
    values = values.transpose(4, 0, 5, 6, 3, 1, 2).reshape(
        batch, blocks * block * slots, channels, (width + 1) * col_slots
    )
    image = jnp.take(values, row.place, axis=1)
    return jnp.take(image, col.place, axis=3).transpose(0, 1, 3, 2)


def _batched_product(table: Float[Array, "w k s"], tall: Float[Array, "w k n"]) -> Array:
    return jnp.einsum("wks,wkn->wsn", table, tall)


def _product_for_each(table: Float[Array, "w k s"], tall: Float[Array, "w k n"]) -> Array:
    """The same, one after the other: XLA's CPU backend is slow at batches of small products."""
    return jax.lax.map(lambda pair: pair[0].T @ pair[1], (table, tall))


def _weighted_basis(
    target: FourierField,
    shared: Shared,
    axis: int,
    intervals: Intervals,
    exists: Float[Array, " n"],
    footprint: float | Array,
) -> tuple[Array, Array]:
    """Real and imaginary factors [f, side, interval, slot], times the tents, which sum to one."""
    t = intervals.fraction
    present = jnp.pad(exists, 1)[:, None]
    weights = jnp.stack([present[:-1] * (1 - t), present[1:] * t])
    total = weights.sum(axis=0, keepdims=True)
    weights = weights / jnp.where(total > 1e-6, total, 1.0)
    local = jnp.stack([t, t - 1])
    cos, sin = target.axis_basis(shared, axis, local, jnp.full((1, 1, 1), footprint))
    cos, sin = (jnp.moveaxis(part * weights[..., None], -1, 0) for part in (cos, sin))
    return cos, sin


def _complex(coefficients: Float[Array, "d c b h w"]) -> tuple[Array, Array]:
    """Coefficients of the cosines and of the negated sines; the constant comes last."""
    f = coefficients.shape[0] // 2
    real = jnp.concatenate([coefficients[:f], coefficients[2 * f :]])
    return real, jnp.concatenate([coefficients[f : 2 * f], jnp.zeros_like(real[:1])])
