"""Images of any kind through a function of RGB images.

Images have 1 to 4 channels (grey, grey + alpha, RGB, RGBA; alpha is straight, not premultiplied)
and are uint8 (0..255), uint16 (0..65535) or float32 (nominally [0, 1]). The models see RGB: grey
becomes R = G = B and is averaged back. With alpha, the colour multiplied by alpha and alpha as a
grey image go through the model as two images, so that the unseen colour of transparent pixels
leaves no fringe. Near an edge of alpha their quotient stays between the colours seen there.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hyperfunc.pixels import Axis, Samples, has_alpha, largest_value, to_integers

REACH = 2
"""How far alpha and colour spread: so many input pixels, or output pixels if these are larger."""

SEEN = 0.5 / 65535
"""A pixel with less alpha than this has no colour."""


def through_rgb(
    draw: Callable[[jax.Array], jax.Array],
    images: jax.Array,
    axes: Sequence[Axis | Samples],
    *,
    origin: Sequence[int | jax.Array] = (0, 0),
) -> jax.Array:
    """Send an image [1, h, w, c] of any kind through a function of RGB images in [0, 1].

    Args:
        draw: the function.
        images: the image.
        axes: where ``draw`` samples, rows and columns.
        origin: the pixel (row, column) of the image that the axes count from.
    """
    dtype, channels = images.dtype, images.shape[-1]
    pixels = images.astype(jnp.float32) / largest_value(dtype)
    if has_alpha(channels):
        values = _through_alpha(draw, pixels, axes, origin)
    else:
        values = _to_channels(draw(_to_rgb(pixels)), channels)
    return values if jnp.issubdtype(dtype, jnp.floating) else to_integers(values, dtype)


def _to_rgb(pixels: jax.Array) -> jax.Array:
    return jnp.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def _to_channels(pixels: jax.Array, channels: int) -> jax.Array:
    return pixels if channels == 3 else pixels.mean(axis=-1, keepdims=True)


def _through_alpha(
    draw: Callable[[jax.Array], jax.Array],
    pixels: jax.Array,
    axes: Sequence[Axis | Samples],
    origin: Sequence[int | jax.Array],
) -> jax.Array:
    colour, alpha = pixels[..., :-1], jnp.clip(pixels[..., -1:], 0, 1)
    drawn = draw(jnp.concatenate([_to_rgb(colour * alpha), _to_rgb(alpha)]))
    products, alphas = _to_channels(drawn[:1], colour.shape[-1]), _to_channels(drawn[1:], 1)
    # Where alpha is constant it stays so, exactly: what is opaque must not become translucent.
    least, most = _bounds(alpha, alpha, axes, origin)
    is_edge = least < most
    # At an edge colour is divided by alpha as it is drawn: what overshoots in both does not change.
    divisors = jnp.where(is_edge, alphas, least)
    quotients = products / jnp.where(divisors > SEEN, divisors, 1.0)
    darkest, lightest = _bounds(
        jnp.where(alpha > SEEN, colour, np.inf),
        jnp.where(alpha > SEEN, colour, -np.inf),
        axes,
        origin,
    )
    quotients = jnp.where(is_edge, jnp.clip(quotients, darkest, lightest), quotients)
    alphas = jnp.clip(alphas, least, most)
    return jnp.concatenate([jnp.where(alphas > SEEN, quotients, 0.0), alphas], axis=-1)


def _bounds(
    lows: jax.Array,
    highs: jax.Array,
    axes: Sequence[Axis | Samples],
    origin: Sequence[int | jax.Array],
) -> list[jax.Array]:
    """The smallest of ``lows`` and the largest of ``highs`` near each output sample."""
    return [_near(lows, np.inf, axes, origin), _near(highs, -np.inf, axes, origin)]


def _near(
    values: jax.Array,
    start: float,
    axes: Sequence[Axis | Samples],
    origin: Sequence[int | jax.Array],
) -> jax.Array:
    """The smallest values if ``start`` is infinite, the largest if it is minus that."""
    is_smallest, last = start > 0, [n - 1 for n in values.shape[1:3]]
    for along, (axis, first) in enumerate(zip(axes, origin, strict=True), 1):
        index = jnp.clip(axis.split()[0] + first, 0, last[along - 1])
        # Where it is traced the image is enlarged.
        step = axis.step if isinstance(axis.step, float | int) else 1.0
        if step > 1:  # Few samples of wide windows: nothing is looked at for each pixel.
            reach = math.ceil(REACH * step)
            index = jnp.clip(
                index[:, None] + jnp.arange(-reach, reach + 1)[None], 0, last[along - 1]
            )
            find = jnp.min if is_smallest else jnp.max
            values = find(jnp.take(values, index, axis=along), axis=along + 1)
        else:
            window = [1, 1, 1, 1]
            window[along] = 2 * REACH + 1
            operation = jax.lax.min if is_smallest else jax.lax.max
            values = jax.lax.reduce_window(
                values, np.float32(start), operation, window, (1, 1, 1, 1), "SAME"
            )
            values = jnp.take(values, index, axis=along)
    return values
