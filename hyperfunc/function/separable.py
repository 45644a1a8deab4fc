"""The field of a window per pixel on any separable grid, without a dense basis.

Between the centres of two neighbouring pixels lies an *interval*; all samples in it see the same
two windows. exp(i w x) factors into rows and columns, so a field is evaluated one column of windows
at a time: first its coefficients on all rows of samples, a sum of broadcast products with rows
innermost, then what it adds to the samples on its two sides, a small matrix product. Nothing is
gathered for each sample, and a column's coefficients and intermediate results stay in the
processor's cache.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hyperfunc.networks import FourierField
from hyperfunc.pixels import Axis, Samples
from hyperfunc.types import Shared

COLUMNS = 64
"""Columns of windows that an accelerator works on at a time; a CPU takes one after the other."""


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
    columns: Any,
    emit: Callable[[Any], Float[Array, "d c b h"]],
    exists: tuple[Float[Array, " h"], Float[Array, " w"]],
    rows: Axis | Samples,
    cols: Axis | Samples,
) -> Float[Array, "b y x c"]:
    """Render a field with one window per pixel, two pixels wide, tent weights.

    Args:
        target: the field.
        shared: its frequencies.
        columns: a pytree of arrays [w, ...], what ``emit`` turns into coefficients.
        emit: makes a column's coefficients of it: those of the basis (cosines, negated sines,
            constant) for each channel, image and row.
        exists: for each axis 1 for windows of the image, 0 for those that pad a tile; they also
            tell how many windows there are.
        rows: samples along y, within the image.
        cols: samples along x.
    """
    row = find_intervals(rows, len(exists[0]))
    col = find_intervals(cols, len(exists[1]))
    row_cos, row_sin = (
        jnp.swapaxes(part, 2, 3)[:, :, :, None, None]  # [f, side, slot, c, b, interval]
        for part in _weighted_basis(target, shared, 0, row, exists[0], rows.step)
    )
    col_cos, col_sin = _weighted_basis(target, shared, 1, col, exists[1], cols.step)
    # What each window adds to the interval on its right and to the one on its left: [w, 2 f, 2 s].
    table = jnp.concatenate([col_cos, -col_sin]).transpose(1, 2, 0, 3)
    table = jnp.concatenate([table[0, 1:], table[1, :-1]], axis=-1)

    def one_column(pair: tuple[Array, Any]) -> Float[Array, "s slot c b interval"]:
        to_both_sides, column = pair
        a, b = (
            jnp.pad(part, ((0, 0), (0, 0), (0, 0), (1, 1)))[:, None]
            for part in _complex(emit(column))
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
    values = jnp.take(values.reshape(-1, *values.shape[2:]), col.place, axis=0)
    values = values.transpose(3, 4, 1, 0, 2)
    values = values.reshape(len(values), -1, *values.shape[3:])
    return jnp.take(values, row.place, axis=1)


def _add_in_turn(
    one_column: Callable[..., Array], table: Float[Array, "w k s"], columns: Any
) -> Float[Array, "intervals slots ..."]:
    """Sum the shares in each interval, one column of windows after the other."""
    # One more column, of nothing: there is an interval more than there are columns.
    table, columns = jax.tree.map(
        lambda leaf: jnp.pad(leaf, ((0, 1), *[(0, 0)] * (leaf.ndim - 1))), (table, columns)
    )

    def step(from_left: Array, pair: Any) -> tuple[Array, Array]:
        to_right, to_left = jnp.split(one_column(pair), 2)
        return to_right, from_left + to_left

    first = jax.tree.map(lambda leaf: leaf[0], (table, columns))
    shape = jax.eval_shape(one_column, first).shape
    nothing = jnp.zeros((shape[0] // 2, *shape[1:]), table.dtype)
    return jax.lax.scan(step, nothing, (table, columns))[1]


def _add_together(
    one_column: Callable[..., Array], table: Float[Array, "w k s"], columns: Any
) -> Float[Array, "intervals slots ..."]:
    """The same, as accelerators like it: many columns at a time."""
    shares = jax.lax.map(one_column, (table, columns), batch_size=COLUMNS)
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


def _complex(coefficients: Float[Array, "d c b h"]) -> tuple[Array, Array]:
    """Coefficients of the cosines and of the negated sines; the constant comes last."""
    f = coefficients.shape[0] // 2
    real = jnp.concatenate([coefficients[:f], coefficients[2 * f :]])
    return real, jnp.concatenate([coefficients[f : 2 * f], jnp.zeros_like(real[:1])])
