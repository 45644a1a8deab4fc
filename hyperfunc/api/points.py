"""Evaluate, differentiate and resample one image at points, compiled."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from hyperfunc.function import (
    FunctionalImage,
    bound_footprint,
    coverage,
    derivative,
    differentiate_grid,
    evaluate_points,
    measure_disagreement,
)
from hyperfunc.pixels import find_lines
from hyperfunc.types import Coords

Points = Coords | np.ndarray | Sequence[Any]
"""Points (y, x): an array [..., 2], or lists such as [[0.25, 0.5]]."""

Orders = tuple[tuple[int, int], ...]
"""Orders of derivatives, each along y and along x."""


def as_points(coords: Any) -> Coords:
    """Convert points to an array, whose last axis must be (y, x)."""
    points = jnp.asarray(coords, jnp.float32)
    if points.ndim == 0 or points.shape[-1] != 2:
        raise ValueError(f"points have shape [..., 2], (y, x) last, not {list(points.shape)}")
    return points


def evaluate(
    function: FunctionalImage,
    coords: Coords,
    footprint: Float[Array, "..."],
    *,
    sigma: float | int,
    widest: float | int,
) -> Float[Array, "*points c"]:
    """Evaluate one image, blurred by sigma, at points; beyond [0, 1] it is mirrored.

    The footprint is a number, (y, x), or (y, x) for each point. It, sigma, and ``widest``, the
    largest one over which the base is averaged, are in input pixels.
    """
    if lines := _find_lines(function, coords, footprint, sigma):
        values = differentiate_grid(function, lines, footprint, ((0, 0),), sigma, widest)
        return values[..., 0]
    points, pitch = _flatten(coords, footprint)
    values = evaluate_points(function, points, pitch, sigma, widest)
    return values.reshape(*coords.shape[:-1], values.shape[-1])


def compare_windows(
    function: FunctionalImage, coords: Coords, footprint: ArrayLike | tuple[float | int, ...]
) -> Float[Array, "*points"]:
    """Measure how far overlapping windows disagree at points; arguments are those of `evaluate`."""
    pitch = jnp.asarray(footprint, jnp.float32)
    bound_footprint(pitch)  # It refuses what is no footprint.
    return measure_disagreement(function, *_flatten(coords, pitch)).reshape(coords.shape[:-1])


def differentiate(
    function: FunctionalImage,
    coords: Coords,
    footprint: Float[Array, "..."],
    orders: Orders,
    *,
    sigma: float | int,
) -> Float[Array, "*points c n"]:
    """Differentiate at points, per unit of the coordinates; arguments are those of `evaluate`."""
    widest = bound_footprint(footprint)
    if lines := _find_lines(function, coords, footprint, sigma):
        return differentiate_grid(function, lines, footprint, orders, sigma, widest)
    return _differentiate_points(function, coords, footprint, orders, sigma, widest)


@functools.partial(jax.jit, static_argnames=("samples", "sigma", "widest"))
def resample(
    function: FunctionalImage,
    coords: Float[Array, "h w 2"],
    footprint: Float[Array, "h w 2"],
    fill: Array | None,
    *,
    samples: int,
    sigma: float | int,
    widest: float | int,
) -> Float[Array, "y x c"]:
    """Evaluate at the points that a transform shows, and average the samples of each pixel.

    ``fill`` is the value or colour outside the image, which is mirrored there if None; otherwise
    see `evaluate`.
    """
    coords = jnp.where(jnp.isfinite(coords), coords, -1.0)  # Infinite points are outside.
    image = evaluate(function, coords, footprint, sigma=sigma, widest=widest)
    if fill is not None:
        inside = coverage(coords, footprint, function.size)[..., None]
        image = inside * image + (1 - inside) * jnp.broadcast_to(fill, image.shape[-1:])[None, None]
    height, width = coords.shape[0] // samples, coords.shape[1] // samples
    return image.reshape(height, samples, width, samples, -1).mean(axis=(1, 3))


def _flatten(coords: Coords, footprint: Float[Array, "..."]) -> tuple[Array, Array]:
    """Return points and the footprint of each, [n, 2]."""
    missing = [1] * (coords.ndim - footprint.ndim)
    pitch = jnp.broadcast_to(footprint.reshape(*missing, *footprint.shape), coords.shape)
    return coords.reshape(-1, 2), pitch.reshape(-1, 2)


@functools.partial(jax.jit, static_argnames=("orders", "sigma", "widest"))
def _differentiate_points(
    function: FunctionalImage,
    coords: Coords,
    footprint: Float[Array, "..."],
    orders: Orders,
    sigma: float | int,
    widest: float | int,
) -> Float[Array, "*points c n"]:
    def field(points: Coords) -> Float[Array, "*points c"]:
        return evaluate(function, points, footprint, sigma=sigma, widest=widest)

    return jnp.stack([derivative(field, order)(coords) for order in orders], axis=-1)


def _find_lines(
    function: FunctionalImage, coords: Coords, footprint: Float[Array, "..."], sigma: float | int
) -> tuple[Array, Array] | None:
    """Find rows and columns whose integrals the points of a grid can share."""
    can_share = sigma and function.is_field_per_pixel and footprint.ndim < 2
    return find_lines(coords) if can_share else None
