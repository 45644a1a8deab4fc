"""Averaging light instead of stored values, where an image is reduced."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from hyperfunc.pixels import Axis, Samples, interpolate_grid
from hyperfunc.types import Size
from hyperfunc.upscaling.alpha import from_rgb, to_rgb
from hyperfunc.values import decode_srgb, encode_srgb, split_alpha, to_integers, to_unit_range

if TYPE_CHECKING:
    from hyperfunc.function import FunctionalImage


def is_reduction(steps: tuple[float, float]) -> bool:
    """Whether an image becomes smaller on both axes; ``steps`` is the pitch of the output."""
    return min(steps) > 1


def reduce_light(
    function: "FunctionalImage",
    images: jax.Array,
    axes: tuple[Axis | Samples, Axis | Samples],
    first: Size | tuple[jax.Array, jax.Array],
) -> jax.Array:
    """Average the light of the pixels that the function has at its own size.

    The arguments and the result are those of `from_rgb`, whose ``rgb`` the function gives.
    """
    from hyperfunc.function import mirror_beyond, render_grid

    own = Axis(0.0, 1.0, function.size[0]), Axis(0.0, 1.0, function.size[1])
    picture = from_rgb(render_grid(function, *own), to_unit_range(images), own, first)
    light = _map_colours(decode_srgb, picture)
    if function.layout.is_per_pixel:
        light = mirror_beyond(light, function.exists)
    reduced = from_rgb(interpolate_grid(to_rgb(light), *axes), light, axes, (0, 0))
    return to_integers(_map_colours(encode_srgb, reduced), images.dtype)


def _map_colours(curve: Callable[[jax.Array], jax.Array], images: jax.Array) -> jax.Array:
    """Apply a curve to all channels but alpha."""
    colours, alpha = split_alpha(images)
    return jnp.concatenate([curve(colours), alpha], axis=-1)
