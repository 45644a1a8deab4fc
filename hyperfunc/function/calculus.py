"""Derivatives of a function of the plane, at any points.

A functional image is continuous, and analytic between the centres of neighbouring pixels. On the
lines through the centres its tent windows have a kink: derivatives jump there, and the functions
return the value from one side.

Forward-mode differentiation of a closed form gives the closed form of its derivative. For a Fourier
series each coefficient is multiplied by i w, with the product rule for the windows; nothing is
approximated.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.types import Coords

Field = Callable[[Coords], Float[Array, "*points c"]]
"""A function of points; its value at a point depends only on that point."""


def derivative(field: Field, order: tuple[int, int]) -> Field:
    """Return a derivative of a field, of the given orders along y and x, again a field."""
    for axis, times in enumerate(order):
        for _ in range(times):
            field = functools.partial(_differentiate, field, axis)
    return field


def _differentiate(field: Field, axis: int, coords: Coords) -> Float[Array, "*points c"]:
    direction = jnp.zeros_like(coords).at[..., axis].set(1.0)
    return jax.jvp(field, (coords,), (direction,))[1]
