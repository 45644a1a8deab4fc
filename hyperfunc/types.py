"""Array types that the whole package shares.

The conventions hold everywhere: images are NHWC, float32, in [0, 1] on the device, and HWC uint8 on
the host; coordinates are (y, x).
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8, UInt16

if TYPE_CHECKING:
    from jaxtyping import Array
else:
    Array = Any  # The real one imports JAX, which those who read image files do not need.

Images = Float[Array, "b h w c"]
"""A batch of images, [0, 1]."""

HostImage = UInt8[np.ndarray, "_ _ 3"]
"""One RGB image on the host, [h, w, 3], 0 to 255; sizes may differ between images."""

HostPixels = UInt8[np.ndarray, "_ _ _"] | UInt16[np.ndarray, "_ _ _"] | Float32[np.ndarray, "_ _ _"]
"""An image of 1 to 4 channels (grey, grey + alpha, RGB, RGBA; alpha is straight, not premultiplied)
on the host, 0 to 255, 0 to 65535, or nominally [0, 1]; axes height, width, channels."""

Coords = Float[Array, "*points 2"]
"""Points (y, x) of the unit square."""

Theta = Any
"""The parameter pytree of target networks; leading axes are batch, window rows, window columns."""

Shared = Any
"""The parameter pytree that all target networks of a model share (learned, never emitted)."""

Size = tuple[int, int]
"""(height, width) in pixels."""


class Neighbourhood(NamedTuple):
    """What a network with a window per pixel reads of an image for one pixel; all in pixels."""

    radius: int
    """How far the parameters of the pixel's window depend on the image."""
    base_radius: int = 0
    """The same for the pixel of the base; 0 where that is the image's own."""
    alignment: int = 1
    """Parts of the image must begin at multiples of this to be read as the whole is."""
