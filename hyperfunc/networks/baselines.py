"""Networks to compare with: SRCNN and RDN, the paper's, enlarge, and DnCNN restores.

They are trained like the hypernetworks, each for one scale. They map images [b, h, w, 3] in [0, 1]
to images [b, scale * h, scale * w, 3].
"""

import dataclasses
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from hyperfunc.errors import check_range
from hyperfunc.networks.backbones import RDN
from hyperfunc.networks.cpu_gradients import convolve_for_flax
from hyperfunc.networks.layers import Precision
from hyperfunc.networks.protocols import INFERENCE, Mode
from hyperfunc.pixels import YCBCR, axis_over, interpolate_grid
from hyperfunc.types import Images

_RDN_FACTORS = {2: (2,), 3: (3,), 4: (2, 2)}
"""By which factors the sub-pixel convolutions of RDN enlarge, for each scale."""


class _ForOneScale(nn.Module):
    """What networks for one scale have in common."""

    depends_on_footprint = True
    """They know one pixel pitch only."""

    @property
    def fixed_scale(self: Any) -> int:
        """The scale."""
        return self.scale

    def with_dtype(self, dtype: Precision) -> Any:
        """Return the network itself, which always computes in float32."""
        del dtype
        return self


class SRCNN(_ForOneScale):
    """Three convolutions on the luma of the bicubically enlarged image; the chroma stays bicubic.

    It has 57 K parameters. It predicts the correction of its input, whereas the original predicts
    the image itself, which takes 10^8 updates to learn.

    Attributes:
        scale: output pixels per input pixel, an integer.
        widths: channels of the two hidden layers.
        sizes: sides of the three kernels.

    Reference: Dong et al. 2016, "Image super-resolution using deep convolutional networks", the
    9-5-5 network of Section 4.
    """

    scale: int = 2
    widths: tuple[int, int] = (64, 32)
    sizes: tuple[int, int, int] = (9, 5, 5)

    def __post_init__(self) -> None:
        check_range(self, "scale", "widths", "sizes", least=1)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Images, *, mode: Mode = INFERENCE) -> Float[jax.Array, "b y x c"]:
        """Enlarge images."""
        del mode  # It is the same for inference and training.
        rows, cols = (axis_over((0.0, 1.0), n * self.scale, n) for n in images.shape[1:3])
        enlarged = interpolate_grid(images, rows, cols)
        x = (enlarged @ jnp.asarray(YCBCR[0], jnp.float32))[..., None] - 0.5
        for width, size in zip(self.widths, self.sizes[:2], strict=True):
            x = nn.relu(nn.Conv(width, (size, size))(x))
        # The same change of R, G and B changes only the luma.
        correction = nn.Conv(1, (self.sizes[2],) * 2, kernel_init=nn.initializers.normal(1e-3))(x)
        return enlarged + correction / float(YCBCR[0].sum())


class RDNUpscaler(_ForOneScale):
    """The residual dense network: its trunk, sub-pixel convolutions and one more convolution.

    With the default trunk it has 22.12 M, 22.31 M and 22.27 M parameters at scale 2, 3 and 4.

    Attributes:
        backbone: the trunk.
        scale: output pixels per input pixel: 2, 3 or 4.

    Reference: Zhang et al. 2018, "Residual dense network for image super-resolution".
    """

    backbone: RDN = dataclasses.field(default_factory=RDN)
    scale: int = 2

    def __post_init__(self) -> None:
        if self.scale not in _RDN_FACTORS:
            raise ValueError(f"scale {self.scale}: RDN is defined for 2, 3 and 4")
        super().__post_init__()

    def with_dtype(self, dtype: Precision) -> "RDNUpscaler":
        """Return the same network with its backbone computing in another precision."""
        return self.clone(backbone=self.backbone.clone(dtype=dtype))

    @nn.compact
    def __call__(self, images: Images, *, mode: Mode = INFERENCE) -> Float[jax.Array, "b y x c"]:
        """Enlarge images."""
        x = self.backbone(images, mode=mode)
        for factor in _RDN_FACTORS[self.scale]:
            x = nn.Conv(x.shape[-1] * factor**2, (3, 3))(x)
            x = pixel_shuffle(x, factor)
        return nn.Conv(3, (3, 3))(x) + 0.5


def pixel_shuffle(x: Float[jax.Array, "b h w n"], factor: int) -> Float[jax.Array, "b y x c"]:
    """Rearrange channels into factor x factor pixels."""
    b, h, w, n = x.shape
    x = x.reshape(b, h, w, factor, factor, n // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * factor, w * factor, -1)


class DnCNN(_ForOneScale):
    """Convolutions with batch normalisation that predict what has to be subtracted from an image.

    The defaults are those of the paper's blind network for colours, CDnCNN-B, with 0.67 M
    parameters. The last convolution starts near zero, so that the network starts near the identity;
    the paper draws it like the others.

    Attributes:
        depth: number of convolutions.
        width: channels between them.

    Reference: Zhang et al. 2017, "Beyond a Gaussian denoiser: residual learning of deep CNN for
    image denoising".
    """

    depth: int = 20
    width: int = 64

    scale = 1
    """It restores images and enlarges none."""

    def __post_init__(self) -> None:
        check_range(self, "depth", least=2)
        check_range(self, "width", least=1)
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Images, *, mode: Mode = INFERENCE) -> Float[jax.Array, "b y x c"]:
        """Restore images."""
        convolution = partial(
            nn.Conv,
            kernel_size=(3, 3),
            kernel_init=nn.initializers.he_normal(),
            conv_general_dilated=convolve_for_flax if mode.fast_gradients else None,
        )
        x = nn.relu(convolution(self.width)(images))
        for _ in range(self.depth - 2):
            x = convolution(self.width, use_bias=False)(x)
            running = not mode.batch_statistics
            x = nn.relu(nn.BatchNorm(use_running_average=running, momentum=0.0)(x))
        return images - convolution(3, kernel_init=nn.initializers.normal(1e-3))(x)


FixedScale = SRCNN | RDNUpscaler | DnCNN
"""All networks for one scale; they predict pixels and make no function."""
