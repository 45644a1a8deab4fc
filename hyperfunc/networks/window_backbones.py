"""Backbones that read an image or a window as a whole, for `PatchHypernetwork`.

They change the resolution and cannot be applied to padded tiles.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.errors import check_range
from hyperfunc.networks.cpu_gradients import dot_for_flax
from hyperfunc.networks.layers import FactorizedConv, Mask, Precision
from hyperfunc.networks.protocols import INFERENCE, Mode
from hyperfunc.types import Images


class InceptionTrunk(nn.Module):
    """The paper's trunk: an inception stem, one residual block, a convolution and a pooling.

    Every n x n convolution is a 1 x n followed by an n x 1, and batch normalisation and ReLU follow
    every layer (Section 3.2). The paper does not state the numbers of channels; the defaults follow
    two independent re-implementations.

    Attributes:
        stem_width: channels of each of the four parallel paths of the stem.
        width: channels after the pooling.
        stride: stride of the stem, 1 or 2; 2 divides the cost of all that follows by 4. The paper
            does not state it.
        dtype: type of the computation.

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

    @property
    def receptive_radius(self) -> None:
        """There is none: the resolution changes, and batches are normalised."""

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, mode: Mode = INFERENCE
    ) -> Float[Array, "b y x d"]:
        """Compute features of 1 / (2 stride) the resolution; ``mask`` is not supported."""
        if mask is not None:
            raise ValueError("InceptionTrunk normalises by batch and cannot run on padded tiles")

        def layer(width: int, size: int, stride: int = 1) -> FactorizedConv:
            return FactorizedConv(width, size, stride, dtype=self.dtype)

        x = images.astype(jnp.dtype(self.dtype))
        pooled = nn.avg_pool(x, (3, 3), strides=(1, 1), padding="SAME")
        stem = [(x, 1), (x, 3), (x, 5), (pooled, 1)]
        paths = [
            layer(self.stem_width, size, self.stride)(y, batch_statistics=mode.batch_statistics)
            for y, size in stem
        ]
        x = jnp.concatenate(paths, axis=-1)
        residual = x
        for _ in range(3):
            residual = layer(x.shape[-1], 3)(residual, batch_statistics=mode.batch_statistics)
        x = layer(self.width, 3)(x + residual, batch_statistics=mode.batch_statistics)
        return nn.max_pool(x, (2, 2), strides=(2, 2), padding="SAME")


class DenseTrunk(nn.Module):
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

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self, "width", least=1)
        check_range(self, "blocks", least=0)
        super().__post_init__()

    @property
    def receptive_radius(self) -> None:
        """There is none: the whole window is read at once."""

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
