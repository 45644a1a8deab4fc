"""The Flax layer: a convolution with a continuous filter."""

import flax.linen as nn
from jax import lax
from jaxtyping import Array, Float

from hyperfunc.filters.kernels import FourierKernel, Kernel, Pitch
from hyperfunc.types import Theta


class ContinuousConv(nn.Module):
    """A convolution whose filter is a function of position, for images of any pixel pitch.

    The result is on the grid of the image. At the reference pitch it is what an ordinary
    convolution with the integrated weights gives. Beyond its border the image is zero.

    Attributes:
        features: output channels.
        kernel: the filter as a function.
    """

    features: int
    kernel: Kernel = FourierKernel()

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], pitch: Pitch = (1.0, 1.0)
    ) -> Float[Array, "b h w features"]:
        """Filter images whose pixels are ``pitch`` (y, x) reference pixels apart.

        Raises:
            ValueError: a pitch is not a positive number.
        """
        parameters: Theta = self.param("kernel", self.kernel.init, images.shape[-1], self.features)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        weights = self.kernel.integrate(parameters, pitch)
        return convolve(images, weights) + bias.reshape(1, 1, 1, -1)


def convolve(
    images: Float[Array, "b h w i"],
    weights: Float[Array, "y x i o"],
    stride: tuple[int, int] = (1, 1),
) -> Float[Array, "b h2 w2 o"]:
    """Correlate images, zero beyond their border, with weights of odd height and width.

    An odd stride s gives the values at the centres of whole blocks of s pixels.
    """
    margins = (taps // 2 - step // 2 for taps, step in zip(weights.shape[:2], stride, strict=True))
    padding = [(margin, margin) for margin in margins]
    return lax.conv_general_dilated(
        images, weights, stride, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
