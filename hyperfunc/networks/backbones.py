"""Backbones (trunks): Flax Linen modules from an image to features.

A backbone maps images [b, h, w, 3] in [0, 1] to features [b, h', w', width]. To add one: write the
module and name it in the union at the foot of the file. It has a field ``dtype`` (`Precision`),
which inference sets to float32; one that keeps the image's resolution, for a network per pixel, has
``receptive_radius``, too, and heeds ``mask``, so that images can be read tile by tile.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.errors import check_range
from hyperfunc.networks.cpu_gradients import (
    add_gated,
    convolve_and_add,
    convolve_depthwise,
    convolve_depthwise_to_train,
    dot_for_flax,
    plain_convolve,
)
from hyperfunc.types import Images

Mask = Float[Array, "#b h w 1"]
Precision = Literal["float32", "bfloat16"]


class EDSR(nn.Module):
    """Residual blocks of two 3x3 convolutions without normalisation, at full resolution.

    Attributes:
        width: channels.
        blocks: residual blocks; 2 * blocks + 2 convolutions in all.
        residual_scale: factor on each block's branch.
        attention: weigh each block's branch, pixel by pixel and channel by channel, by a sigmoid of
            its own 1x1 projection.
        fusion: mix the outputs of all blocks by a 1x1 convolution, instead of taking the last.
        dtype: of the computation, "float32" or "bfloat16"; parameters stay float32.

    Reference: Lim et al. 2017, "Enhanced deep residual networks for single image super-resolution";
    Zhao et al. 2020, "Efficient image super-resolution using pixel attention"; Zhang et al. 2018,
    "Residual dense network for image super-resolution", for the fusion.
    """

    width: int = 64
    blocks: int = 5
    residual_scale: float = 1.0
    attention: bool = False
    fusion: bool = False
    dtype: Precision = "float32"

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self, "width", least=1)
        check_range(self, "blocks", least=1 if self.fusion else 0)
        check_range(self, "residual_scale", least=0)
        super().__post_init__()

    @property
    def receptive_radius(self) -> int:
        """How many pixels away a feature still depends on the image."""
        return 2 * self.blocks + 2

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, train: bool = False
    ) -> Float[Array, "b h w d"]:
        """Compute features.

        Args:
            images: [0, 1].
            mask: 1 inside the image, 0 where a tile is padded. Features outside are held at zero,
                so that a padded tile gives exactly what the zero-padded convolutions give for the
                image.
            train: chooses convolutions that are faster to train
                (`hyperfunc.networks.cpu_gradients`).
        """

        def conv(name: str, *, is_rectified: bool = False) -> Callable[[Array], Array]:
            layer = Convolution(self.width, 3, is_rectified, self.dtype, name=name)
            return lambda x: inside(layer(x, train=train), mask)

        shallow = conv("head")(inside(images - 0.5, mask))
        x = shallow
        outputs = []
        for i in range(self.blocks):
            residual = conv(f"block_{i}_b")(conv(f"block_{i}_a", is_rectified=True)(x))
            if self.attention:
                gate = PixelAttention(self.residual_scale, self.dtype, name=f"block_{i}_gate")
                x = gate(x, residual, train=train)
            else:
                x = x + self.residual_scale * residual
            outputs.append(x)
        if self.fusion:
            x = inside(Fusion(self.width, self.dtype, name="fusion")(outputs), mask)
        return shallow + conv("tail")(x)


class RDN(nn.Module):
    """Residual dense network, without its upsampler.

    Every layer of a dense block reads all that came before it in the block; a 1x1 convolution fuses
    them, and another fuses the outputs of all blocks.

    Attributes:
        width: channels between the blocks (the paper's G0).
        blocks: dense blocks (D).
        layers: 3x3 convolutions in a block (C).
        growth: channels that each of them adds (G).
        dtype: of the computation, "float32" or "bfloat16"; parameters stay float32.

    Reference: Zhang et al. 2018, "Residual dense network for image super-resolution"; the published
    networks have D = 16, C = 8, G = G0 = 64.
    """

    width: int = 64
    blocks: int = 16
    layers: int = 8
    growth: int = 64
    dtype: Precision = "float32"

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self, "width", "blocks", "layers", "growth", least=1)
        super().__post_init__()

    @property
    def receptive_radius(self) -> int:
        """How many pixels away a feature still depends on the image."""
        return self.blocks * self.layers + 3

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, train: bool = False
    ) -> Float[Array, "b h w d"]:
        """Compute features; the arguments are those of `EDSR`."""

        def conv(
            name: str, width: int, size: int, *, is_rectified: bool = False
        ) -> Callable[[Array], Array]:
            layer = Convolution(width, size, is_rectified, self.dtype, name=name)
            return lambda x: inside(layer(x, train=train), mask)

        shallow = conv("head_a", self.width, 3)(inside(images - 0.5, mask))
        x = conv("head_b", self.width, 3)(shallow)
        outputs = []
        for i in range(self.blocks):
            dense = x
            for j in range(self.layers):
                grown = conv(f"block_{i}_{j}", self.growth, 3, is_rectified=True)(dense)
                dense = jnp.concatenate([dense, grown], axis=-1)
            x = x + conv(f"block_{i}_fusion", self.width, 1)(dense)
            outputs.append(x)
        x = inside(Fusion(self.width, self.dtype, name="fusion_a")(outputs), mask)
        return shallow + conv("fusion_b", self.width, 3)(x)


class VapSR(nn.Module):
    """Blocks of 1x1 and depthwise convolutions, in which features weigh features.

    A block normalises its input, widens it, and multiplies it by what a depthwise 5x5 convolution
    makes of its neighbourhood (no sigmoid); a 1x1 convolution of the outputs of all blocks ends the
    trunk. A block has a quarter of the parameters of one of `EDSR`, so there are more of them and
    they see further. Different from the paper: no second depthwise convolution, with dilation,
    which is learned late and makes a tile's halo wide; normalisation by the root mean square, at a
    block's start; and the fusion.

    Attributes:
        width: channels between the blocks.
        attention_width: channels within them.
        blocks: how many.
        dtype: of the computation, "float32" or "bfloat16"; parameters stay float32.

    Reference: Zhou et al. 2022, "Efficient image super-resolution using vast-receptive-field
    attention"; Zhang & Sennrich 2019 for the normalisation.
    """

    width: int = 48
    attention_width: int = 64
    blocks: int = 12
    dtype: Precision = "float32"

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self, "width", "attention_width", "blocks", least=1)
        super().__post_init__()

    @property
    def receptive_radius(self) -> int:
        """How many pixels away a feature still depends on the image."""
        return 2 * self.blocks + 2

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, train: bool = False
    ) -> Float[Array, "b h w d"]:
        """Compute features; the arguments are those of `EDSR`."""

        def conv(name: str, width: int, size: int) -> Callable[[Array], Array]:
            layer = Convolution(width, size, False, self.dtype, name=name)
            return lambda x: inside(layer(x, train=train), mask)

        shallow = conv("head", self.width, 3)(inside(images - 0.5, mask))
        x = shallow
        outputs = []
        for i in range(self.blocks):
            normalised = RMSNorm(self.dtype, name=f"block_{i}_norm")(x)
            wide = nn.gelu(conv(f"block_{i}_a", self.attention_width, 1)(normalised))
            attention = conv(f"block_{i}_b", self.attention_width, 1)(wide)
            depthwise = Depthwise(5, self.dtype, name=f"block_{i}_depthwise")
            attention = inside(depthwise(attention, train=train), mask)
            x = x + conv(f"block_{i}_c", self.width, 1)(wide * attention)
            outputs.append(x)
        x = inside(Fusion(self.width, self.dtype, name="fusion")(outputs), mask)
        return shallow + conv("tail", self.width, 3)(x)


class Depthwise(nn.Module):
    """A convolution of each channel with a kernel of its own, zeros around the image, and a bias.

    Attributes:
        size: of the kernel's sides.
        dtype: of the computation.
    """

    size: int
    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w c"]:
        """Apply the layer; with ``train`` in the way that has the faster gradient."""
        channels = x.shape[-1]
        initializer = nn.initializers.normal(1 / self.size)
        kernel = self.param("kernel", initializer, (self.size, self.size, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        x, kernel, bias = _as_dtype(self.dtype, x, kernel, bias.reshape(1, 1, 1, -1))
        if train:
            return jnp.asarray(convolve_depthwise_to_train(x, kernel)) + bias
        return convolve_depthwise(x, kernel) + bias


class RMSNorm(nn.Module):
    """Divides the channels of each pixel by their root mean square, and scales them.

    Attributes:
        dtype: of the result; the mean is of float32.
    """

    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Apply the layer."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        x = x.astype(jnp.float32)
        power = jnp.mean(x * x, axis=-1, keepdims=True)
        return (x * jax.lax.rsqrt(power + 1e-6) * scale.reshape(1, 1, 1, -1)).astype(
            jnp.dtype(self.dtype)
        )


class Fusion(nn.Module):
    """A 1x1 convolution of several features, which are never laid side by side in memory.

    Attributes:
        width: output channels.
        dtype: of the computation.
    """

    width: int
    dtype: str

    @nn.compact
    def __call__(self, features: Sequence[Float[Array, "b h w _"]]) -> Float[Array, "b h w d"]:
        """Apply the layer, whose parameters are those of a convolution of all channels."""
        dtype = jnp.dtype(self.dtype)
        ends = list(itertools.accumulate(x.shape[-1] for x in features))
        shape = (1, 1, ends[-1], self.width)
        kernel, bias = _make_kernel_and_bias(self, shape)
        kernel = kernel.astype(dtype)
        total = bias.reshape(1, 1, 1, -1)  # Summed in float32, as within one product.
        for x, end in zip(features, ends, strict=True):
            part = kernel[0, 0, end - x.shape[-1] : end]
            total = total + jnp.einsum(
                "bhwc,cd->bhwd", x.astype(dtype), part, preferred_element_type=jnp.float32
            )
        return total.astype(dtype)


class Convolution(nn.Module):
    """A convolution of stride 1 with zeros around the image, and its bias, as Flax' own.

    Attributes:
        width: output channels.
        size: of the kernel's sides, 1 or 3.
        is_rectified: whether a ReLU follows.
        dtype: of the computation.
    """

    width: int
    size: int
    is_rectified: bool
    dtype: str

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w d"]:
        """Apply the layer; with ``train`` in the way that has the faster gradient."""
        shape = (self.size, self.size, x.shape[-1], self.width)
        x, kernel, bias = _as_dtype(self.dtype, x, *_make_kernel_and_bias(self, shape))
        if train:
            return convolve_and_add(x, kernel, bias, is_rectified=self.is_rectified)
        outputs = _convolve_and_add(x, kernel, bias)
        return nn.relu(outputs) if self.is_rectified else outputs


class PixelAttention(nn.Module):
    """Weighs each pixel and channel by twice a sigmoid of a 1x1 projection, and adds a shortcut.

    Twice, so that at first a gate passes about everything.

    Attributes:
        factor: another one on what is weighed.
        dtype: of the computation.

    Reference: Zhao et al. 2020, "Efficient image super-resolution using pixel attention".
    """

    factor: float = 1.0
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, shortcut: Float[Array, "b h w c"], x: Float[Array, "b h w c"], *, train: bool
    ) -> Float[Array, "b h w c"]:
        """Compute ``shortcut + factor * 2 * x * sigmoid(projection of x)``."""
        shape = (1, 1, x.shape[-1], x.shape[-1])
        x, kernel, bias = _as_dtype(self.dtype, x, *_make_kernel_and_bias(self, shape))
        if train:
            return add_gated(shortcut, x, kernel, bias, 2 * self.factor)
        return shortcut + 2 * self.factor * x * nn.sigmoid(_convolve_and_add(x, kernel, bias))


def _make_kernel_and_bias(module: nn.Module, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Declare the parameters of a convolution, initialised as Flax does it."""
    kernel = module.param("kernel", nn.initializers.lecun_normal(), shape)
    return kernel, module.param("bias", nn.initializers.zeros, shape[-1:])


def _convolve_and_add(x: Array, kernel: Array, bias: Array) -> Array:
    return plain_convolve(x, kernel) + bias.reshape(1, 1, 1, -1)


def _as_dtype(dtype: str, *arrays: Array) -> tuple[Array, ...]:
    return tuple(x.astype(jnp.dtype(dtype)) for x in arrays)


def inside(x: Float[Array, "b h w d"], mask: Mask | None) -> Float[Array, "b h w d"]:
    """Hold features at zero outside of the image."""
    return x if mask is None else x * mask.astype(x.dtype)


class InceptionTrunk(nn.Module):
    """The paper's trunk: an inception stem, one residual block, a convolution and a pooling.

    Every n x n convolution is a 1 x n followed by an n x 1, and batch normalisation and ReLU follow
    every layer (text of Section 3.2). The numbers of channels are not given by the paper (Figure 5
    is a picture); the defaults follow two independent re-implementations.

    Attributes:
        stem_width: channels of each of the four parallel paths of the stem.
        width: channels after the pooling.
        stride: of the stem, 1 or 2: at half the resolution already, all that follows costs a
            quarter. Not given by the paper.
        dtype: of the computation.

    Reference: Klocek et al. 2019, Section 3.2 and Figure 5; Szegedy et al. 2017 for the stem.
    """

    stem_width: int = 3
    width: int = 24
    stride: int = 1
    dtype: Precision = "float32"

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self, "stem_width", "width", "stride", least=1)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, train: bool = False
    ) -> Float[Array, "b y x d"]:
        """Compute features of 1 / (2 stride) the resolution; ``mask`` is not supported."""
        if mask is not None:
            raise ValueError("InceptionTrunk normalises by batch and cannot run on padded tiles")

        def layer(width: int, size: int, stride: int = 1) -> FactorizedConv:
            return FactorizedConv(width, size, stride, dtype=self.dtype)

        x = images.astype(jnp.dtype(self.dtype))
        pooled = nn.avg_pool(x, (3, 3), strides=(1, 1), padding="SAME")
        stem = [(x, 1), (x, 3), (x, 5), (pooled, 1)]
        paths = [layer(self.stem_width, size, self.stride)(y, train=train) for y, size in stem]
        x = jnp.concatenate(paths, axis=-1)
        residual = x
        for _ in range(3):
            residual = layer(x.shape[-1], 3)(residual, train=train)
        x = layer(self.width, 3)(x + residual, train=train)
        return nn.max_pool(x, (2, 2), strides=(2, 2), padding="SAME")


class FactorizedConv(nn.Module):
    """A 1 x n and an n x 1 convolution, then batch normalisation and ReLU.

    Reference: Klocek et al. 2019, Section 3.2 ("1 x n convolution followed by a n x 1").
    """

    width: int
    size: int
    stride: int = 1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b y x d"]:
        """Apply the layer; ``train`` chooses between batch and running statistics."""
        dtype = jnp.dtype(self.dtype)
        if self.size > 1:
            x = nn.Conv(self.width, (1, self.size), (1, self.stride), dtype=dtype)(x)
        stride = (self.stride, 1 if self.size > 1 else self.stride)
        x = nn.Conv(self.width, (self.size, 1), stride, use_bias=False, dtype=dtype)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.99, dtype=dtype)(x)
        return nn.relu(x)


class DenseTrunk(nn.Module):
    """Dense layers over all pixels of a window, for windows small enough to be read at once.

    A linear code of the window, corrected by residual blocks. For a `PatchHypernetwork`: small
    windows have a good linear code, which convolutions with normalisation find slowly.

    Attributes:
        width: of the code and of the hidden layers.
        blocks: residual blocks of two layers.
        dtype: of the computation.
    """

    width: int = 256
    blocks: int = 1
    dtype: Precision = "float32"

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self, "width", least=1)
        check_range(self, "blocks", least=0)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, train: bool = False
    ) -> Float[Array, "b 1 1 d"]:
        """Compute one feature vector for each image; ``mask`` is not supported."""
        if mask is not None:
            raise ValueError("DenseTrunk reads whole windows and cannot run on padded tiles")

        def layer(name: str) -> nn.Dense:
            dot = dot_for_flax if train else None
            return nn.Dense(self.width, dtype=jnp.dtype(self.dtype), dot_general=dot, name=name)

        x = layer("code")(images.reshape(images.shape[0], 1, 1, -1) - 0.5)
        for i in range(self.blocks):
            x = x + layer(f"block_{i}_b")(nn.relu(layer(f"block_{i}_a")(x)))
        return x


Backbone = EDSR | RDN | VapSR | InceptionTrunk | DenseTrunk
