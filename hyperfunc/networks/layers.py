"""Layers of which backbones and hypernetworks are made.

Each computes in its own ``dtype`` and stores float32 parameters. Where a layer has an argument
``fast_gradients``, it chooses kernels of `hyperfunc.networks.cpu_gradients`: values stay the same,
reverse-mode gradients are faster on CPUs, and forward-mode derivatives may not exist.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.networks.cpu_gradients import (
    add_gated,
    convolve_and_add,
    convolve_depthwise,
    convolve_line_for_flax,
    plain_convolve,
)
from hyperfunc.networks.protocols import Mode

Mask = Float[Array, "#b h w 1"]
"""1 for pixels of the image, 0 for pixels that pad a tile."""

Precision = Literal["float32", "bfloat16"]
"""The type in which a network computes."""


class Trunk(nn.Module):
    """A backbone. Parts of the image may begin anywhere, unless it says otherwise."""

    alignment = 1
    """See `hyperfunc.networks.protocols.BackboneProtocol`."""


class Convolution(nn.Module):
    """A convolution of stride 1 with a bias; the image is padded with zeros."""

    width: int
    size: int
    """Side of the kernel, 1 or 3."""
    is_rectified: bool
    """Whether a ReLU follows."""
    dtype: str

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], *, fast_gradients: bool
    ) -> Float[Array, "b h w d"]:
        """Apply the layer."""
        shape = (self.size, self.size, x.shape[-1], self.width)
        x, kernel, bias = _to_dtype(self.dtype, x, *_make_kernel_and_bias(self, shape))
        if fast_gradients:
            return convolve_and_add(x, kernel, bias, is_rectified=self.is_rectified)
        outputs = _convolve_and_add(x, kernel, bias)
        return nn.relu(outputs) if self.is_rectified else outputs


class Depthwise(nn.Module):
    """A convolution of each channel with its own kernel, and a bias; zeros pad the image."""

    size: int
    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Apply the layer."""
        channels = x.shape[-1]
        initializer = nn.initializers.normal(1 / self.size)
        kernel = self.param("kernel", initializer, (self.size, self.size, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        x, kernel, bias = _to_dtype(self.dtype, x, kernel, bias.reshape(1, 1, 1, -1))
        return convolve_depthwise(x, kernel) + bias


class Fusion(nn.Module):
    """A 1x1 convolution of several features, without concatenating them in memory."""

    width: int
    dtype: str

    @nn.compact
    def __call__(self, features: Sequence[Float[Array, "b h w _"]]) -> Float[Array, "b h w d"]:
        """Apply the layer; its parameters are those of a convolution of the concatenation."""
        dtype = jnp.dtype(self.dtype)
        ends = list(itertools.accumulate(x.shape[-1] for x in features))
        kernel, bias = _make_kernel_and_bias(self, (1, 1, ends[-1], self.width))
        kernel = kernel.astype(dtype)
        total = bias.reshape(1, 1, 1, -1)  # The sum is in float32, as within one product.
        for x, end in zip(features, ends, strict=True):
            part = kernel[0, 0, end - x.shape[-1] : end]
            total = total + jnp.einsum(
                "bhwc,cd->bhwd", x.astype(dtype), part, preferred_element_type=jnp.float32
            )
        return total.astype(dtype)


class PixelAttention(nn.Module):
    """Weighs each pixel and channel by twice a sigmoid of a 1x1 projection, and adds a shortcut.

    The factor 2 makes an untrained gate pass about everything; ``factor`` multiplies it.

    Reference: Zhao et al. 2020, "Efficient image super-resolution using pixel attention".
    """

    factor: float = 1.0
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, shortcut: Float[Array, "b h w c"], x: Float[Array, "b h w c"], *, fast_gradients: bool
    ) -> Float[Array, "b h w c"]:
        """Compute ``shortcut + factor * 2 * x * sigmoid(projection of x)``."""
        shape = (1, 1, x.shape[-1], x.shape[-1])
        x, kernel, bias = _to_dtype(self.dtype, x, *_make_kernel_and_bias(self, shape))
        if fast_gradients:
            return add_gated(shortcut, x, kernel, bias, 2 * self.factor)
        return shortcut + 2 * self.factor * x * nn.sigmoid(_convolve_and_add(x, kernel, bias))


class FactorizedConv(nn.Module):
    """A 1 x n and an n x 1 convolution, then batch normalisation and a ReLU.

    The running statistics that it returns are those of the batch; whoever trains averages them.

    Reference: Klocek et al. 2019, Section 3.2 ("1 x n convolution followed by a n x 1").
    """

    width: int
    size: int
    stride: int = 1
    dtype: str = "float32"
    padding: Literal["SAME", "VALID"] = "SAME"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, mode: Mode) -> Float[Array, "b y x d"]:
        """Apply the layer; normalise by the statistics of the batch, or by the running ones."""
        dtype = jnp.dtype(self.dtype)
        convolution = partial(
            nn.Conv,
            self.width,
            padding=self.padding,
            dtype=dtype,
            conv_general_dilated=convolve_line_for_flax if mode.fast_gradients else None,
        )
        if self.size > 1:
            x = convolution((1, self.size), (1, self.stride))(x)
        stride = (self.stride, 1 if self.size > 1 else self.stride)
        x = convolution((self.size, 1), stride, use_bias=False)(x)
        running = not mode.batch_statistics
        x = nn.BatchNorm(use_running_average=running, momentum=0.0, dtype=dtype)(x)
        return nn.relu(x)


def keep_inside(x: Float[Array, "b h w d"], mask: Mask | None) -> Float[Array, "b h w d"]:
    """Set features outside the image to zero."""
    return x if mask is None else x * mask.astype(x.dtype)


def pool_to(x: Float[Array, "b h w c"], size: int) -> Float[Array, "b y x c"]:
    """Average to size x size pixels as adaptive average pooling does; 0 leaves the axes.

    An axis that is no longer than ``size`` stays as it is.
    """
    for axis in (1, 2):
        n = x.shape[axis]
        if 0 < size < n:
            cells = [(i * n // size, -(-(i + 1) * n // size)) for i in range(size)]
            parts = [jax.lax.slice_in_dim(x, low, high, axis=axis) for low, high in cells]
            x = jnp.stack([part.mean(axis=axis) for part in parts], axis=axis)
    return x


def _make_kernel_and_bias(module: nn.Module, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Declare the parameters of a convolution, initialised as Flax does it."""
    kernel = module.param("kernel", nn.initializers.lecun_normal(), shape)
    return kernel, module.param("bias", nn.initializers.zeros, shape[-1:])


def _convolve_and_add(x: Array, kernel: Array, bias: Array) -> Array:
    return plain_convolve(x, kernel) + bias.reshape(1, 1, 1, -1)


def _to_dtype(dtype: str, *arrays: Array) -> tuple[Array, ...]:
    return tuple(x.astype(jnp.dtype(dtype)) for x in arrays)


def make_convolve(dtype: str, mask: Mask | None, mode: Mode) -> Callable[..., Array]:
    """Return a function that declares and applies a convolution, inside the mask only."""

    def convolve(
        x: Array, name: str, width: int, size: int = 3, *, is_rectified: bool = False
    ) -> Array:
        layer = Convolution(width, size, is_rectified, dtype, name=name)
        return keep_inside(layer(x, fast_gradients=mode.fast_gradients), mask)

    return convolve
