"""Backbones that keep the image's resolution, for a target network per pixel.

They are convolutional and accept a mask, so that an image can be read tile by tile.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.errors import check_range
from hyperfunc.networks.layers import (
    Convolution,
    Depthwise,
    Fusion,
    Mask,
    PixelAttention,
    Precision,
    keep_inside,
)
from hyperfunc.networks.protocols import INFERENCE, Mode
from hyperfunc.types import Images


class EDSR(nn.Module):
    """Residual blocks of two 3x3 convolutions without normalisation, at full resolution.

    Attributes:
        width: channels.
        blocks: residual blocks; there are 2 * blocks + 2 convolutions.
        residual_scale: factor on each block's branch.
        attention: weigh each block's branch, pixel by pixel and channel by channel, by a sigmoid of
            its own 1x1 projection.
        fusion: mix the outputs of all blocks by a 1x1 convolution, instead of using the last.
        dtype: type of the computation; parameters are always float32.

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
        """How many pixels away a feature depends on the image."""
        return 2 * self.blocks + 2

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, mode: Mode = INFERENCE
    ) -> Float[Array, "b h w d"]:
        """Compute features.

        Args:
            images: [0, 1].
            mask: 1 inside the image, 0 where a tile is padded. Features outside stay zero, so that
                a padded tile gives exactly what the zero-padded convolutions give for the image.
            mode: for what the network is applied.
        """

        def conv(name: str, *, is_rectified: bool = False) -> Callable[[Array], Array]:
            layer = Convolution(self.width, 3, is_rectified, self.dtype, name=name)
            return lambda x: keep_inside(layer(x, fast_gradients=mode.fast_gradients), mask)

        shallow = conv("head")(keep_inside(images - 0.5, mask))
        x = shallow
        outputs = []
        for i in range(self.blocks):
            residual = conv(f"block_{i}_b")(conv(f"block_{i}_a", is_rectified=True)(x))
            if self.attention:
                gate = PixelAttention(self.residual_scale, self.dtype, name=f"block_{i}_gate")
                x = gate(x, residual, fast_gradients=mode.fast_gradients)
            else:
                x = x + self.residual_scale * residual
            outputs.append(x)
        if self.fusion:
            x = keep_inside(Fusion(self.width, self.dtype, name="fusion")(outputs), mask)
        return shallow + conv("tail")(x)


class RDN(nn.Module):
    """Residual dense network, without its upsampler.

    Every layer of a dense block reads the outputs of all earlier layers of the block. A 1x1
    convolution fuses them, and another one fuses the outputs of all blocks.

    Attributes:
        width: channels between the blocks (the paper's G0).
        blocks: dense blocks (D).
        layers: 3x3 convolutions in a block (C).
        growth: channels that each convolution adds (G).
        dtype: type of the computation; parameters are always float32.

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
        """How many pixels away a feature depends on the image."""
        return self.blocks * self.layers + 3

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, mode: Mode = INFERENCE
    ) -> Float[Array, "b h w d"]:
        """Compute features; the arguments are those of `EDSR`."""

        def conv(
            name: str, width: int, size: int, *, is_rectified: bool = False
        ) -> Callable[[Array], Array]:
            layer = Convolution(width, size, is_rectified, self.dtype, name=name)
            return lambda x: keep_inside(layer(x, fast_gradients=mode.fast_gradients), mask)

        shallow = conv("head_a", self.width, 3)(keep_inside(images - 0.5, mask))
        x = conv("head_b", self.width, 3)(shallow)
        outputs = []
        for i in range(self.blocks):
            dense = x
            for j in range(self.layers):
                grown = conv(f"block_{i}_{j}", self.growth, 3, is_rectified=True)(dense)
                dense = jnp.concatenate([dense, grown], axis=-1)
            x = x + conv(f"block_{i}_fusion", self.width, 1)(dense)
            outputs.append(x)
        x = keep_inside(Fusion(self.width, self.dtype, name="fusion_a")(outputs), mask)
        return shallow + conv("fusion_b", self.width, 3)(x)


class VapSR(nn.Module):
    """Blocks of 1x1 and depthwise convolutions, in which features weigh features.

    A block normalises its input and widens it. A depthwise 5x5 convolution turns the result into
    weights, by which it is multiplied (without a sigmoid). A 1x1 convolution of the outputs of all
    blocks ends the trunk. A block has a quarter of the parameters of an `EDSR` block, so there are
    more blocks, which see further.

    Differences from the paper: there is no second, dilated depthwise convolution, because it is
    learned late and widens a tile's halo; a block begins with a normalisation by the root mean
    square; the outputs of all blocks are fused.

    Attributes:
        width: channels between the blocks.
        attention_width: channels within the blocks.
        blocks: number of blocks.
        dtype: type of the computation; parameters are always float32.

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
        """How many pixels away a feature depends on the image."""
        return 2 * self.blocks + 2

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, mode: Mode = INFERENCE
    ) -> Float[Array, "b h w d"]:
        """Compute features; the arguments are those of `EDSR`."""

        def conv(name: str, width: int, size: int) -> Callable[[Array], Array]:
            layer = Convolution(width, size, False, self.dtype, name=name)
            return lambda x: keep_inside(layer(x, fast_gradients=mode.fast_gradients), mask)

        shallow = conv("head", self.width, 3)(keep_inside(images - 0.5, mask))
        x = shallow
        outputs = []
        for i in range(self.blocks):
            normalised = nn.RMSNorm(dtype=jnp.dtype(self.dtype), name=f"block_{i}_norm")(x)
            wide = nn.gelu(conv(f"block_{i}_a", self.attention_width, 1)(normalised))
            attention = conv(f"block_{i}_b", self.attention_width, 1)(wide)
            depthwise = Depthwise(5, self.dtype, name=f"block_{i}_depthwise")
            attention = keep_inside(depthwise(attention, fast_gradients=mode.fast_gradients), mask)
            x = x + conv(f"block_{i}_c", self.width, 1)(wide * attention)
            outputs.append(x)
        x = keep_inside(Fusion(self.width, self.dtype, name="fusion")(outputs), mask)
        return shallow + conv("tail", self.width, 3)(x)
