"""Losses: one value per image, averaging is the caller's."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.types import Images

Loss = Literal["l1", "l2", "charbonnier"]


def pixel_loss(name: Loss, predicted: Images, target: Images) -> Float[Array, " b"]:
    """Mean over the pixels and channels of each image, [0, 1]; predictions may be beyond.

    "l2" is the paper's squared error (Section 3.1), "l1" the absolute error, and "charbonnier"
    sqrt(error^2 + 1e-6), Lai et al. 2017.
    """
    error = predicted - target
    if name == "l1":
        values = jnp.abs(error)
    elif name == "l2":
        values = jnp.square(error)
    elif name == "charbonnier":
        values = jnp.sqrt(jnp.square(error) + 1e-6)
    else:
        raise ValueError(f"there is no loss {name!r}")
    return values.mean(axis=(1, 2, 3))
