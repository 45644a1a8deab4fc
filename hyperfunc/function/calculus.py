"""Derivatives of a function of the plane, at any points.

A functional image is analytic between the centres of neighbouring pixels and continuous everywhere;
on the lines through the centres its tent windows have a kink, so that derivatives exist almost
everywhere and jump there. On a kink the value from one side is given.

Forward-mode differentiation of a closed form is the closed form of its derivative: for a Fourier
field each coefficient is multiplied by i w, with the product rule for the windows, and nothing is
approximated.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.types import Coords

Field = Callable[[Coords], Float[Array, "*points c"]]
"""A function of points whose value at each point depends on that point only."""


def directional(field: Field, axis: int) -> Field:
    """The derivative of a field along an axis (0: y, 1: x), again a field."""

    def derivative(coords: Coords) -> Float[Array, "*points c"]:
        direction = jnp.zeros_like(coords).at[..., axis].set(1.0)
        return jax.jvp(field, (coords,), (direction,))[1]

    return derivative


def derivative(field: Field, order: tuple[int, int]) -> Field:
    """A derivative of a field, of the order along y and along x, again a field."""
    for axis, times in enumerate(order):
        for _ in range(times):
            field = directional(field, axis)
    return field
