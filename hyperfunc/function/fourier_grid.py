"""A Fourier series per pixel on any separable grid, without a dense basis.

An *interval* lies between the centres of two neighbouring pixels; all samples in it see the same
two windows. exp(i w x) is a product of a factor of rows and one of columns, so the renderer takes
one column of windows at a time. It first evaluates the column on all rows of samples, by a sum of
broadcast products with rows innermost. A small matrix product then gives what the column adds to
the samples on its two sides. Nothing is gathered for each sample, and the coefficients and
intermediate results of a column stay in the processor's cache.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hyperfunc.function.functional_image import FunctionalImage
from hyperfunc.networks import FourierField
from hyperfunc.pixels import Axis, Samples
from hyperfunc.types import Shared

COLUMNS_AT_ONCE = 64
"""Columns of windows that an accelerator renders at once; a CPU renders one after the other."""


class Intervals(NamedTuple):
    """The samples of one axis, sorted into the intervals between the centres of n pixels."""

    place: Int[Array, " count"]
    """The place of each sample, interval * slots + slot."""
    fraction: Float[Array, "intervals slots"]
    """Distance from the left centre, in pixels, [0, 1); undefined in slots without a sample."""


def find_intervals(axis: Axis | Samples, pixels: int) -> Intervals:
    """Sort samples into pixels + 1 intervals, with as many slots as the fullest one can need."""
    slots = axis.slots
    cell, fraction = axis.split()
    is_right = fraction >= 0.5
    interval = cell + is_right
    fraction = fraction + jnp.where(is_right, -0.5, 0.5)
    first = jnp.searchsorted(interval, jnp.arange(pixels + 1))
    index = jnp.clip(first[:, None] + jnp.arange(slots)[None], 0, axis.count - 1)
    slot = jnp.arange(axis.count) - first[interval]
    return Intervals(interval * slots + slot, fraction[index])


def render_fourier_grid(
    function: FunctionalImage, rows: Axis | Samples, cols: Axis | Samples
) -> Float[Array, "b y x c"]:
    """Render the sum of the windows, without the base, on a separable grid within the image."""
    target, shared = cast(FourierField, function.target), function.shared
    exists, (columns, emit) = function.exists, function.theta.columns()
    row = find_intervals(rows, len(exists[0]))
    col = find_intervals(cols, len(exists[1]))
    row_cos, row_sin = (
        jnp.swapaxes(part, 2, 3)[:, :, :, None, None]  # [f, side, slot, c, b, interval]
        for part in _weighted_basis(target, shared, 0, row, exists[0], rows.step)
    )
    col_cos, col_sin = _weighted_basis(target, shared, 1, col, exists[1], cols.step)
    # The factor of each window in the interval on its right and in the one on its left, for all
    # frequencies (real, imaginary) and slots: [w, 2 f, 2 s].
    table = jnp.concatenate([col_cos, -col_sin]).transpose(1, 2, 0, 3)
    table = jnp.concatenate([table[0, 1:], table[1, :-1]], axis=-1)

    def one_column(pair: tuple[Array, Any]) -> Float[Array, "s slot c b interval"]:
        to_both_sides, column = pair
        a, b = (
            jnp.pad(part, ((0, 0), (0, 0), (0, 0), (1, 1)))[:, None]
            for part in target.split_coefficients(emit(column), axis=0)
        )
        up, down = np.s_[..., :-1], np.s_[..., 1:]
        p = a[up] * row_cos[:, 0] + a[down] * row_cos[:, 1]
        p -= b[up] * row_sin[:, 0] + b[down] * row_sin[:, 1]
        q = a[up] * row_sin[:, 0] + a[down] * row_sin[:, 1]
        q += b[up] * row_cos[:, 0] + b[down] * row_cos[:, 1]
        tall = jnp.concatenate([p, q])
        shares = to_both_sides.T @ tall.reshape(len(tall), -1)
        return shares.reshape(-1, *tall.shape[1:])

    values = jax.lax.platform_dependent(
        table,
        columns,
        cpu=functools.partial(_add_in_turn, one_column),
        default=functools.partial(_add_together, one_column),
    )
    # [interval, slot] -> columns, then [interval, slot] -> rows.
    values = jnp.take(values.reshape(-1, *values.shape[2:]), col.place, axis=0, mode="clip")
    values = values.transpose(3, 4, 1, 0, 2)
    values = values.reshape(len(values), -1, *values.shape[3:])
    return jnp.take(values, row.place, axis=1, mode="clip")


def _add_in_turn(
    one_column: Callable[..., Array], table: Float[Array, "w k s"], columns: Any
) -> Float[Array, "intervals slots ..."]:
    """Add up the values of each interval, one column of windows after the other."""
    # There is one interval more than there are columns: append a column of zeros.
    table, columns = jax.tree.map(
        lambda leaf: jnp.pad(leaf, ((0, 1), *[(0, 0)] * (leaf.ndim - 1))), (table, columns)
    )

    def step(from_left: Array, pair: Any) -> tuple[Array, Array]:
        to_right, to_left = jnp.split(one_column(pair), 2)
        return to_right, from_left + to_left

    first = jax.tree.map(lambda leaf: leaf[0], (table, columns))
    shape = jax.eval_shape(one_column, first).shape
    zeros = jnp.zeros((shape[0] // 2, *shape[1:]), table.dtype)
    return jax.lax.scan(step, zeros, (table, columns))[1]


def _add_together(
    one_column: Callable[..., Array], table: Float[Array, "w k s"], columns: Any
) -> Float[Array, "intervals slots ..."]:
    """Add up the values of each interval, many columns at once, for accelerators."""
    shares = jax.lax.map(one_column, (table, columns), batch_size=COLUMNS_AT_ONCE)
    to_right, to_left = jnp.split(jnp.pad(shares, ((1, 1), *[(0, 0)] * 5)), 2, axis=1)
    return to_right[:-1] + to_left[1:]


def _weighted_basis(
    target: FourierField,
    shared: Shared,
    axis: int,
    intervals: Intervals,
    exists: Float[Array, " n"],
    footprint: float | Array,
) -> tuple[Array, Array]:
    """Compute the factors [f, side, interval, slot] of one axis, with the windows' weights."""
    t = intervals.fraction
    present = jnp.pad(exists, 1)[:, None]
    weights = jnp.stack([present[:-1] * (1 - t), present[1:] * t])
    total = weights.sum(axis=0, keepdims=True)
    weights = weights / jnp.where(total > 1e-6, total, 1.0)
    local = jnp.stack([t, t - 1])
    cos, sin = target.axis_basis(shared, axis, local, jnp.full((1, 1, 1), footprint))
    cos, sin = (jnp.moveaxis(part * weights[..., None], -1, 0) for part in (cos, sin))
    return cos, sin
