"""Backbones (trunks): Linen modules from images in [0, 1] to features.

`EDSR`, `HalfEDSR`, `RDN` and `VapSR` keep the image's resolution, for a target network per pixel.
They are convolutional and accept a mask, so that an image can be read tile by tile.
`InceptionTrunk` and `DenseTrunk` read an image or a window as a whole, for `PatchHypernetwork`.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.errors import check_range
from hyperfunc.networks.cpu_gradients import dot_for_flax
from hyperfunc.networks.edsr import EDSR, HalfEDSR
from hyperfunc.networks.layers import (
    Depthwise,
    FactorizedConv,
    Fusion,
    Mask,
    Precision,
    Trunk,
    keep_inside,
    make_convolve,
)
from hyperfunc.networks.protocols import INFERENCE, Mode
from hyperfunc.types import Images


class RDN(Trunk):
    """Residual dense network, without its upsampler.

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
        convolve = make_convolve(self.dtype, mask, mode)
        shallow = convolve(keep_inside(images - 0.5, mask), "head_a", self.width)
        x = convolve(shallow, "head_b", self.width)
        outputs = []
        for i in range(self.blocks):
            dense = x
            for j in range(self.layers):
                grown = convolve(dense, f"block_{i}_{j}", self.growth, is_rectified=True)
                dense = jnp.concatenate([dense, grown], axis=-1)
            x = x + convolve(dense, f"block_{i}_fusion", self.width, 1)
            outputs.append(x)
        x = keep_inside(Fusion(self.width, self.dtype, name="fusion_a")(outputs), mask)
        return shallow + convolve(x, "fusion_b", self.width)


class VapSR(Trunk):
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
        convolve = make_convolve(self.dtype, mask, mode)
        x = shallow = convolve(keep_inside(images - 0.5, mask), "head", self.width)
        outputs = []
        for i in range(self.blocks):
            normalised = nn.RMSNorm(dtype=jnp.dtype(self.dtype), name=f"block_{i}_norm")(x)
            wide = nn.gelu(convolve(normalised, f"block_{i}_a", self.attention_width, 1))
            attention = convolve(wide, f"block_{i}_b", self.attention_width, 1)
            depthwise = Depthwise(5, self.dtype, name=f"block_{i}_depthwise")
            attention = keep_inside(depthwise(attention), mask)
            x = x + convolve(wide * attention, f"block_{i}_c", self.width, 1)
            outputs.append(x)
        x = keep_inside(Fusion(self.width, self.dtype, name="fusion")(outputs), mask)
        return shallow + convolve(x, "tail", self.width)


class InceptionTrunk(Trunk):
    """The paper's trunk: an inception stem, residual blocks, a convolution and a pooling.

    Every n x n convolution is a 1 x n followed by an n x 1, and batch normalisation and ReLU follow
    every layer (Section 3.2). The paper does not state the numbers of channels; the defaults follow
    two independent re-implementations.

    Attributes:
        stem_width: channels of each of the four parallel paths of the stem.
        width: channels after the pooling.
        stride: stride of the stem, 1 or 2; 2 divides the cost of all that follows by 4. The paper
            does not state it.
        blocks: residual blocks of three layers. The paper has one.
        pool: whether to pool at the end. Without pooling and with stride 1 the trunk keeps the
            image's resolution.
        dtype: type of the computation.

    Reference: Klocek et al. 2019, Section 3.2 and Figure 5; Szegedy et al. 2017 for the stem.
    """

    stem_width: int = 3
    width: int = 24
    stride: int = 1
    blocks: int = 1
    pool: bool = True
    dtype: Precision = "float32"

    def __post_init__(self) -> None:
        check_range(self, "stem_width", "width", "stride", least=1)
        check_range(self, "blocks", least=0)
        super().__post_init__()

    @property
    def receptive_radius(self) -> int | None:
        """How many pixels away a feature depends on the image; None if the resolution changes."""
        return None if self.pool or self.stride > 1 else 2 + 3 * self.blocks + 1

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, mode: Mode = INFERENCE
    ) -> Float[Array, "b y x d"]:
        """Compute features of 1 / (2 stride) the resolution, or 1 / stride without pooling.

        ``mask`` is supported where the resolution is kept.
        """
        if mask is not None and self.receptive_radius is None:
            raise ValueError("InceptionTrunk changes the resolution and cannot run on padded tiles")

        def layer(x: Array, width: int, size: int, stride: int = 1) -> Array:
            convolution = FactorizedConv(width, size, stride, dtype=self.dtype)
            return keep_inside(convolution(x, mode=mode), mask)

        x = keep_inside(images, mask).astype(jnp.dtype(self.dtype))
        pooled = nn.avg_pool(x, (3, 3), strides=(1, 1), padding="SAME")
        stem = [(x, 1), (x, 3), (x, 5), (pooled, 1)]
        paths = [layer(y, self.stem_width, size, self.stride) for y, size in stem]
        x = jnp.concatenate(paths, axis=-1)
        for _ in range(self.blocks):
            residual = x
            for _ in range(3):
                residual = layer(residual, x.shape[-1], 3)
            x = x + residual
        x = layer(x, self.width, 3)
        return nn.max_pool(x, (2, 2), strides=(2, 2), padding="SAME") if self.pool else x


class DenseTrunk(Trunk):
    """Dense layers over all pixels of a window, for windows small enough to be read at once.

    Residual blocks correct a linear code of the window. Small windows have a good linear code,
    which convolutions with normalisation find slowly.

    Attributes:
        width: channels of the code and of the hidden layers.
        blocks: residual blocks of two layers.
        dtype: type of the computation.
    """

    width: int = 256
    blocks: int = 1
    dtype: Precision = "float32"

    receptive_radius = None
    """There is none: the whole window is read at once."""

    def __post_init__(self) -> None:
        check_range(self, "width", least=1)
        check_range(self, "blocks", least=0)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, mode: Mode = INFERENCE
    ) -> Float[Array, "b 1 1 d"]:
        """Compute one feature vector for each image; ``mask`` is not supported."""
        if mask is not None:
            raise ValueError("DenseTrunk reads whole windows and cannot run on padded tiles")

        def layer(name: str) -> nn.Dense:
            dot = dot_for_flax if mode.fast_gradients else None
            return nn.Dense(self.width, dtype=jnp.dtype(self.dtype), dot_general=dot, name=name)

        x = layer("code")(images.reshape(images.shape[0], 1, 1, -1) - 0.5)
        for i in range(self.blocks):
            x = x + layer(f"block_{i}_b")(nn.relu(layer(f"block_{i}_a")(x)))
        return x


Backbone = EDSR | HalfEDSR | RDN | VapSR | InceptionTrunk | DenseTrunk
