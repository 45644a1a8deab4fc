"""Missing pixels, which are NaN in the images that a network reads."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hyperfunc.networks.layers import Mask
from hyperfunc.types import Images

FILL_RADIUS = 8
"""How many pixels away a filled pixel depends on the image."""

SIGMAS = (0.6, 1.2, 2.4, 4.8)
"""Standard deviations of the Gaussians that add up to the weights of known pixels."""


def fill_missing(
    images: Images, mask: Mask | None = None
) -> tuple[Images, Float[Array, "b h w 1"]]:
    """Fill pixels that are NaN in any channel with the weighted mean of those nearby, or with grey.

    Return the filled images, and 1 where pixels are known, else 0.

    Reference: Shepard 1968, "A two-dimensional interpolation function for irregularly-spaced data".
    """
    is_missing = find_missing(images)
    known = 1.0 - is_missing.astype(jnp.float32)
    inside = known if mask is None else known * mask
    pixels = jnp.where(is_missing, 0.0, images)
    sums = _add_nearby(jnp.concatenate([pixels * inside, inside], axis=-1))
    means = jnp.where(sums[..., -1:] > 0, sums[..., :-1] / sums[..., -1:].clip(1e-9), 0.5)
    return jnp.where(is_missing, means, images), known


def find_missing(images: Images) -> Bool[Array, "b h w 1"]:
    """Find the pixels that are NaN in any channel."""
    return jnp.isnan(images).any(axis=-1, keepdims=True)


def _add_nearby(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Add what is nearby with weights of about distance ** -4: Gaussians add up to them."""
    return jnp.asarray(sum(sigma**-4 * _blur(_blur(x, 1, sigma), 2, sigma) for sigma in SIGMAS))


def _blur(x: Float[Array, "b h w c"], axis: int, sigma: float) -> Float[Array, "b h w c"]:
    radius, n = min(math.ceil(3 * sigma), FILL_RADIUS), x.shape[axis]
    padded = jnp.pad(x, [(radius, radius) if i == axis else (0, 0) for i in range(4)])
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    parts = (
        weight * jax.lax.slice_in_dim(padded, i, i + n, axis=axis)
        for i, weight in enumerate(weights.tolist())
    )
    return jnp.asarray(sum(parts))
