"""Images of 1 to 4 channels through a model of RGB images.

Grey becomes R = G = B and is averaged back. Alpha is straight, not premultiplied. An image with
alpha becomes two RGB images: its colour multiplied by alpha, and its alpha as a grey image. Thus
the invisible colour of transparent pixels leaves no fringe. The colour of the result is the
quotient of the two. Near an edge of alpha it is clipped to the colours that are visible there.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hyperfunc.pixels import OVERSHOOT, Axis, Samples
from hyperfunc.types import HostPixels
from hyperfunc.values import has_alpha, largest_value, to_integers, to_unit_range

GAP_RADIUS = 8
"""`OVERSHOOT.radius` where pixels may be missing: the others bound what fills them."""

SMALLEST_VISIBLE_ALPHA = 0.5 / 65535
"""A pixel with less alpha than this has no colour."""

Origin = tuple[int | jax.Array, int | jax.Array]
"""(row, column) of a pixel."""


def choose_channels(pixels: HostPixels) -> int:
    """Count the channels to render: none where all is transparent, no alpha where all is opaque."""
    channels = pixels.shape[2]
    if not has_alpha(channels):
        return channels
    alpha = pixels[..., -1]
    if (alpha <= 0).all():
        return 0
    is_opaque = (alpha >= largest_value(pixels.dtype)).all()
    return channels - 1 if is_opaque else channels


def drop_equal_channels(image: HostPixels) -> HostPixels:
    """Turn an RGB image that is grey everywhere into a grey one: the model would tint it."""
    colours = image[..., :3]
    first = np.broadcast_to(colours[..., :1], colours.shape)
    is_float = image.dtype == np.float32  # Missing pixels are NaN.
    if image.shape[2] < 3 or not np.array_equal(colours, first, equal_nan=is_float):
        return image
    return np.delete(image, (1, 2), axis=2)


def repeat_grey(image: HostPixels, channels: int) -> HostPixels:
    """Give an image of `drop_equal_channels` its channels back."""
    return (
        np.repeat(image, [3, 1][: image.shape[2]], axis=2) if image.shape[2] < channels else image
    )


def to_rgb(images: jax.Array) -> jax.Array:
    """Turn an image [1, h, w, c] into RGB in [0, 1]: with alpha colour times alpha, then alpha."""
    pixels = to_unit_range(images)
    if not has_alpha(images.shape[-1]):
        return _repeat_grey(pixels)
    colour, alpha = _split_alpha(pixels)
    return jnp.concatenate([_repeat_grey(colour * alpha), _repeat_grey(alpha)])


def from_rgb(
    rgb: jax.Array,
    images: jax.Array,
    axes: Sequence[Axis | Samples],
    origin: Origin,
    radius: int = OVERSHOOT.radius,
) -> jax.Array:
    """Turn rendered RGB images back into an image of the original's channels and dtype.

    Integers are rounded and clipped, floats are not.

    Args:
        rgb: what was rendered of the images of `to_rgb`.
        images: the original [1, h, w, c].
        axes: where the pixels of ``rgb`` lie, rows and columns, counted from ``origin``.
        origin: a pixel of the original.
        radius: how many pixels away those are that bound a value.
    """
    dtype, channels, pixels = images.dtype, images.shape[-1], to_unit_range(images)
    is_float = jnp.issubdtype(dtype, jnp.floating)
    # Constant pixels stay exact.
    rounding = 0.0 if is_float else OVERSHOOT.rounding / largest_value(dtype)
    if has_alpha(channels):
        values = _divide_by_alpha(rgb, pixels, axes, origin, radius, rounding)
    else:
        darkest, lightest = (
            _reduce_nearby(r, pixels, axes, origin, radius) for r in (MINIMUM, MAXIMUM)
        )
        values = _hold(_average_to(channels, rgb), darkest, lightest, rounding)
    return values if is_float else to_integers(values, dtype)


def _hold(values: jax.Array, darkest: jax.Array, lightest: jax.Array, rounding: float) -> jax.Array:
    """Keep values near those of the input around them, which may be off by ``rounding``."""
    margin = OVERSHOOT.margin(lightest - darkest) + rounding
    return jnp.clip(values, darkest - margin, lightest + margin)


def _split_alpha(pixels: jax.Array) -> tuple[jax.Array, jax.Array]:
    return pixels[..., :-1], jnp.clip(pixels[..., -1:], 0, 1)


def _repeat_grey(pixels: jax.Array) -> jax.Array:
    return jnp.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def _average_to(channels: int, rgb: jax.Array) -> jax.Array:
    return rgb if channels == 3 else rgb.mean(axis=-1, keepdims=True)


def _divide_by_alpha(
    rgb: jax.Array,
    pixels: jax.Array,
    axes: Sequence[Axis | Samples],
    origin: Origin,
    radius: int,
    rounding: float,
) -> jax.Array:
    """Combine rendered colour times alpha and rendered alpha: [1, y, x, c]."""
    colour, alpha = _split_alpha(pixels)
    products, alphas = _average_to(colour.shape[-1], rgb[:1]), _average_to(1, rgb[1:])
    # Constant alpha stays exactly constant, so that opaque pixels do not become translucent.
    least, most = (_reduce_nearby(r, alpha, axes, origin) for r in (MINIMUM, MAXIMUM))
    is_edge = least < most
    # The model overshoots at an edge, in the product and in alpha alike. Dividing by alpha before
    # it is clipped cancels that.
    divisors = jnp.where(is_edge, alphas, least)
    quotients = products / jnp.where(divisors > SMALLEST_VISIBLE_ALPHA, divisors, 1.0)
    # A transparent pixel has no colour: it takes no part in the bounds.
    visible = jnp.where(alpha > SMALLEST_VISIBLE_ALPHA, colour, np.nan)
    darkest, lightest = (
        _reduce_nearby(r, visible, axes, origin, radius) for r in (MINIMUM, MAXIMUM)
    )
    held = _hold(quotients, darkest, lightest, rounding)
    quotients = jnp.where(is_edge, jnp.clip(quotients, darkest, lightest), held)
    alphas = jnp.clip(alphas, least, most)
    colour = jnp.where(alphas > SMALLEST_VISIBLE_ALPHA, quotients, 0.0)
    return jnp.concatenate([colour, alphas], axis=-1)


class Reduction(NamedTuple):
    """A minimum or a maximum: along an axis, of two values, and its value for no elements."""

    over_axis: Callable[..., jax.Array]
    of_two: Callable[..., Any]
    start: float


MINIMUM = Reduction(jnp.min, jax.lax.min, np.inf)
MAXIMUM = Reduction(jnp.max, jax.lax.max, -np.inf)


def _reduce_nearby(
    reduction: Reduction,
    values: jax.Array,
    axes: Sequence[Axis | Samples],
    origin: Origin,
    radius: int = OVERSHOOT.radius,
) -> jax.Array:
    """Reduce the values [1, h, w, c] near each output pixel; infinite where all of them are NaN."""
    last = values.shape[1] - 1, values.shape[2] - 1
    values = jnp.where(jnp.isnan(values), reduction.start, values)
    for i, (axis, first) in enumerate(zip(axes, origin, strict=True)):
        along = i + 1
        index = jnp.clip(axis.split()[0] + first, 0, last[i])
        if axis.max_step > 1:
            # There are few output pixels, with many input pixels around each.
            reach = max(math.ceil(OVERSHOOT.radius * axis.max_step), radius)
            offsets = jnp.arange(-reach, reach + 1)
            nearby = jnp.clip(index[:, None] + offsets[None], 0, last[i])
            values = reduction.over_axis(jnp.take(values, nearby, axis=along), axis=along + 1)
        else:
            window = [1, 1, 1, 1]
            window[along] = 2 * radius + 1
            start = np.float32(reduction.start)
            values = jax.lax.reduce_window(
                values, start, reduction.of_two, window, (1, 1, 1, 1), "SAME"
            )
            values = jnp.take(values, index, axis=along)
    return jnp.where(values == reduction.start, -reduction.start, values)
