"""Losses: one value per image. The caller averages them."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.types import Images

Loss = Literal["l1", "l2", "charbonnier", "psnr"]


def pixel_loss(name: Loss, predicted: Images, target: Images) -> Float[Array, " b"]:
    """Compare images in [0, 1]; predictions may be beyond.

    "l2" is the paper's squared error (Section 3.1), "l1" the absolute error, and "charbonnier"
    sqrt(error^2 + 1e-6), Lai et al. 2017: each is averaged over the pixels and channels of an
    image. "psnr" is the logarithm (base 10) of the mean squared error + 1e-6, Chen et al. 2021
    (HINet); times -10 it is the PSNR in dB, of at most 60. So 1 dB counts the same in every
    image.
    """
    error = predicted - target
    if name == "l1":
        values = jnp.abs(error)
    elif name == "l2":
        values = jnp.square(error)
    elif name == "charbonnier":
        values = jnp.sqrt(jnp.square(error) + 1e-6)
    elif name == "psnr":
        return jnp.log10(jnp.square(error).mean(axis=(1, 2, 3)) + 1e-6)
    else:
        raise ValueError(f"there is no loss {name!r}")
    return values.mean(axis=(1, 2, 3))
