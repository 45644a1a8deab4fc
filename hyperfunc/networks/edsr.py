"""`EDSR`, residual blocks of convolutions, and `HalfEDSR`, most of it at half the resolution."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.errors import check_range
from hyperfunc.networks.layers import (
    Convolution,
    Fusion,
    Mask,
    PixelAttention,
    Precision,
    Trunk,
    keep_inside,
    make_convolve,
)
from hyperfunc.networks.protocols import INFERENCE, Mode
from hyperfunc.types import Images


class EDSR(Trunk):
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
        convolve = make_convolve(self.dtype, mask, mode)
        x = shallow = convolve(keep_inside(images - 0.5, mask), "head", self.width)
        outputs = []
        for i in range(self.blocks):
            residual = convolve(x, f"block_{i}_a", self.width, is_rectified=True)
            residual = convolve(residual, f"block_{i}_b", self.width)
            if self.attention:
                gate = PixelAttention(self.residual_scale, self.dtype, name=f"block_{i}_gate")
                x = gate(x, residual, fast_gradients=mode.fast_gradients)
            else:
                x = x + self.residual_scale * residual
            outputs.append(x)
        if self.fusion:
            x = keep_inside(Fusion(self.width, self.dtype, name="fusion")(outputs), mask)
        return shallow + convolve(x, "tail", self.width)


class HalfEDSR(Trunk):
    """An `EDSR` trunk at half the resolution: a layer there costs a quarter.

    Each square of 2 x 2 pixels becomes one pixel of 12 channels. A 1x1 convolution expands the
    trunk's features to four times as many, which are laid out at full resolution, and a 3x3
    convolution of the image itself is added, so that details can pass. A second, smaller `EDSR` at
    full resolution may add to these features.

    Attributes:
        width: channels.
        blocks: residual blocks.
        fine_width: channels of the trunk at full resolution.
        fine_blocks: its residual blocks; 0 for no such trunk.
        attention: as in `EDSR`.
        fusion: as in `EDSR`.
        dtype: type of the computation; parameters are always float32.

    Reference: Zhang et al. 2018, "FFDNet: toward a fast and flexible solution for CNN-based image
    denoising".
    """

    width: int = 64
    blocks: int = 8
    fine_width: int = 32
    fine_blocks: int = 0
    attention: bool = True
    fusion: bool = True
    dtype: Precision = "float32"

    alignment = 2
    """Squares of pixels are counted from the first one."""

    def __post_init__(self) -> None:
        check_range(self, "width", "blocks", "fine_width", least=1)
        check_range(self, "fine_blocks", least=0)
        super().__post_init__()

    @property
    def receptive_radius(self) -> int:
        """How many pixels away a feature depends on the image."""
        radius = 2 * (2 * self.blocks + 2) + 1
        return radius + (2 * self.fine_blocks + 2 if self.fine_blocks else 0)

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, mode: Mode = INFERENCE
    ) -> Float[Array, "b h w d"]:
        """Compute features; the arguments are those of `EDSR`."""
        convolve = make_convolve(self.dtype, mask, mode)
        centred = keep_inside(images - 0.5, mask)
        coarse_mask = None if mask is None else fold(mask).max(axis=-1, keepdims=True)
        kinds = (1.0, self.attention, self.fusion, self.dtype)
        trunk = EDSR(self.width, self.blocks, *kinds, name="trunk")
        coarse = trunk(fold(centred) + 0.5, mask=coarse_mask, mode=mode)
        expand = Convolution(4 * self.width, 1, False, self.dtype, name="expand")
        fine = unfold(expand(coarse, fast_gradients=mode.fast_gradients))
        fine = fine[:, : images.shape[1], : images.shape[2]]
        fine = keep_inside(fine, mask) + convolve(centred, "skip", self.width)
        if not self.fine_blocks:
            return fine
        fine_trunk = EDSR(self.fine_width, self.fine_blocks, *kinds, name="fine_trunk")
        detail = fine_trunk(fine + 0.5, mask=mask, mode=mode)
        join = Convolution(self.width, 1, False, self.dtype, name="join")
        return fine + keep_inside(join(detail, fast_gradients=mode.fast_gradients), mask)


def fold(x: Float[Array, "b h w c"]) -> Float[Array, "b y x d"]:
    """Lay the pixels of each 2 x 2 square side by side in channels; zeros pad odd sides."""
    b, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))
    rows, cols = (h + 1) // 2, (w + 1) // 2
    x = x.reshape(b, rows, 2, cols, 2, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, rows, cols, 4 * c)


def unfold(x: Float[Array, "b y x d"]) -> Float[Array, "b h w c"]:
    """Undo `fold`."""
    b, rows, cols, d = x.shape
    x = x.reshape(b, rows, cols, 2, 2, d // 4)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * rows, 2 * cols, d // 4)
