"""Array types that the whole package shares.

States once what holds everywhere: images are NHWC, float32, in [0, 1] on the device, and HWC uint8
on the host; coordinates are (y, x).
"""

from typing import Any

import numpy as np
from jaxtyping import Array, Float, UInt8

Images = Float[Array, "b h w c"]
"""A batch of images, [0, 1]."""

HostImage = UInt8[np.ndarray, "h w 3"]
"""One RGB image on the host, 0 to 255."""

Coords = Float[Array, "*points 2"]
"""Points (y, x) of the unit square."""

Theta = Any
"""The parameter pytree of target networks; leading axes are batch, window rows, window columns."""

Shared = Any
"""The parameter pytree that all target networks of a model share (learned, never emitted)."""

Size = tuple[int, int]
"""(height, width) in pixels."""
