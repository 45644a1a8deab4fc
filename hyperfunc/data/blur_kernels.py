"""Kernels of blurs: what one point of a sharp image becomes."""

import math

import numpy as np
from jaxtyping import Float64

TRUNCATION = 4.0
"""A Gaussian ends at so many standard deviations."""

SAMPLES_PER_PIXEL = 64
"""Of the path of a motion."""

Kernel = Float64[np.ndarray, "n n"]


def gaussian_kernel(sigma: float) -> Kernel:
    """Return a Gaussian of this standard deviation in pixels, with sum 1."""
    radius = math.ceil(TRUNCATION * sigma)
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    return np.outer(weights, weights) / weights.sum() ** 2


def motion_kernel(length: float, angle: float) -> Kernel:
    """Return the kernel of a uniform motion along a straight line, with sum 1.

    It is the mean over the exposure of shifts by bilinear interpolation:
    k(y, x) = 1/length * integral of hat(y + t sin(angle)) hat(x - t cos(angle)) over t from
    -length/2 to length/2, where hat(u) = max(1 - |u|, 0).

    Args:
        length: of the path, in pixels.
        angle: of the path, in degrees, counter-clockwise from the rows of the image.

    Reference: Gonzalez and Woods, "Digital image processing", "Estimating the degradation
    function": H(u, v) = sinc(u a + v b) for a motion by (a, b), without the interpolation.
    """
    count = max(math.ceil(SAMPLES_PER_PIXEL * length), 1)
    path = length * ((np.arange(count) + 0.5) / count - 0.5)
    radius = math.ceil(length / 2)
    grid = np.arange(-radius, radius + 1)[:, None]
    rows = (1 - np.abs(grid + path * math.sin(math.radians(angle)))).clip(0)
    cols = (1 - np.abs(grid - path * math.cos(math.radians(angle)))).clip(0)
    return rows @ cols.T / count
