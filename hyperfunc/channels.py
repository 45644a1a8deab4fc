"""Images of any kind through a function of RGB images.

Images have 1 to 4 channels (grey, grey + alpha, RGB, RGBA; alpha is straight, not premultiplied)
and are uint8 (0..255), uint16 (0..65535) or float32 (nominally [0, 1]). The models see RGB: grey
becomes R = G = B and is averaged back. With alpha, the colour multiplied by alpha and alpha as a
grey image go through the model as two images, so that the unseen colour of transparent pixels
leaves no fringe.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hyperfunc.coords import Axis, Samples

ALPHA_REACH = 2
"""Alpha stays between its smallest and largest value within so many input pixels."""


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
    largest = 1 if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).max
    pixels = images.astype(jnp.float32) / largest
    if channels in (1, 3):
        values = _to_channels(draw(_to_rgb(pixels)), channels)
    else:
        colour, alpha = pixels[..., :-1], jnp.clip(pixels[..., -1:], 0, 1)
        drawn = draw(jnp.concatenate([_to_rgb(colour * alpha), _to_rgb(alpha)]))
        # Where alpha is constant it stays so, exactly: what is opaque must not become translucent.
        alpha = jnp.clip(_to_channels(drawn[1:], 1), *_alpha_bounds(alpha, axes, origin))
        is_seen = alpha > 0.5 / 65535
        colour = _to_channels(drawn[:1], channels - 1) / jnp.where(is_seen, alpha, 1.0)
        values = jnp.concatenate([jnp.where(is_seen, colour, 0.0), alpha], axis=-1)
    if largest == 1:
        return values
    return jnp.floor(jnp.clip(values, 0, 1) * largest + 0.5).astype(dtype)


def _to_rgb(pixels: jax.Array) -> jax.Array:
    return jnp.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def _to_channels(pixels: jax.Array, channels: int) -> jax.Array:
    return pixels if channels == 3 else pixels.mean(axis=-1, keepdims=True)


def _alpha_bounds(
    alpha: jax.Array, axes: Sequence[Axis | Samples], origin: Sequence[int | jax.Array]
) -> list[jax.Array]:
    """Smallest and largest alpha near each output sample."""
    window, strides = (1, 2 * ALPHA_REACH + 1, 2 * ALPHA_REACH + 1, 1), (1, 1, 1, 1)
    bounds = [
        jax.lax.reduce_window(alpha, np.float32(start), operation, window, strides, "SAME")
        for start, operation in ((np.inf, jax.lax.min), (-np.inf, jax.lax.max))
    ]
    rows, cols = (
        jnp.clip(axis.split()[0] + first, 0, pixels - 1)
        for axis, first, pixels in zip(axes, origin, alpha.shape[1:3], strict=True)
    )
    return [jnp.take(jnp.take(bound, rows, axis=1), cols, axis=2) for bound in bounds]
