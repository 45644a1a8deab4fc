"""The coordinate convention, and the only file that knows it.

An image fills the unit square. Axes come in the order (y, x); pixel i of n is the interval
[i / n, (i + 1) / n] and its value belongs to the centre (i + 0.5) / n. A *position* is a coordinate
in units of input pixels (coordinate times n), so pixel i is centred at position i + 0.5. A
*footprint* is the pixel pitch that a value is asked for, in input pixels: 1 / scale.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.types import Coords, Size


class Axis(NamedTuple):
    """Evenly spaced sample positions along one axis, in input pixels.

    Sample i lies at ``start + (i + 0.5) * step``; ``step`` is also the footprint. ``start`` may be
    a traced value, so that one compiled function serves every tile and every training phase.
    """

    start: float | jax.Array
    step: float
    count: int

    def positions(self) -> Float[Array, " n"]:
        """Positions of all samples, in input pixels."""
        return self.start + (jnp.arange(self.count) + 0.5) * self.step


def axis_over(window: tuple[float, float], count: int, input_pixels: int) -> Axis:
    """Place ``count`` samples over an interval of the unit square.

    Args:
        window: the interval (low, high), coordinates in [0, 1].
        count: the number of samples (output pixels).
        input_pixels: the extent of the input image along this axis, in pixels.
    """
    low, high = window
    return Axis(low * input_pixels, (high - low) * input_pixels / count, count)


def pixel_centres(size: Size) -> Float[Array, "h w 2"]:
    """Coordinates (y, x) in [0, 1] of the pixel centres of an image of ``size``."""
    height, width = size
    rows = (jnp.arange(height) + 0.5) / height
    cols = (jnp.arange(width) + 0.5) / width
    return jnp.stack(jnp.meshgrid(rows, cols, indexing="ij"), axis=-1)


def to_positions(coords: Coords, size: Size) -> Coords:
    """Turn coordinates in [0, 1] into positions in pixels of an image of ``size``."""
    return jnp.stack([coords[..., i] * size[i] for i in range(2)], axis=-1)


def mirrored(coords: Float[Array, "*points"], extent: float | int = 1.0) -> Float[Array, "*points"]:
    """Fold what lies beyond [0, extent] back inside: the image is mirrored at its border."""
    rest = jnp.mod(coords, 2.0 * extent)
    folded = jnp.minimum(rest, 2.0 * extent - rest)
    # Inside, the value itself: no rounding, and a derivative on the border too.
    return jnp.where((coords >= 0) & (coords <= extent), coords, folded)
