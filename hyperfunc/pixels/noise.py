"""An estimate of the noise of an image, without another image to compare it with."""

import numpy as np

from hyperfunc.types import HostPixels
from hyperfunc.values import has_alpha, to_unit_range

LARGEST_SIDE = 1024
"""Pixels of the part in the middle that is looked at."""

BLOCK = 32
"""Side of a block, in pixels."""

CALM_SHARE = 0.1
"""So many of the blocks are calmer than the one whose noise counts."""

NORMAL_MEDIAN = 0.6745
"""The median of the absolute values of a normal distribution of standard deviation 1."""


def estimate_noise(image: HostPixels) -> float:
    """Estimate the standard deviation of white noise, in levels of 255.

    It is the median absolute value of the finest diagonal wavelet coefficients (Haar's) in blocks
    of the green or grey channel. Texture is not everywhere, and noise is: so one of the calmest
    blocks counts. An image smaller than a block has none.

    Reference: Donoho and Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".
    """
    height, width, channels = image.shape
    rows, cols = (min(n, LARGEST_SIDE) // BLOCK for n in (height, width))
    if not rows * cols:
        return 0.0
    top, left = (height - rows * BLOCK) // 2, (width - cols * BLOCK) // 2
    channel = 0 if channels - has_alpha(channels) == 1 else 1
    part = image[top : top + rows * BLOCK, left : left + cols * BLOCK, channel]
    x = to_unit_range(part).reshape(rows, BLOCK // 2, 2, cols, BLOCK // 2, 2)
    vertical = x[:, :, 0] - x[:, :, 1]
    diagonal = (vertical[..., 0] - vertical[..., 1]) / 2
    medians = np.median(np.abs(diagonal), axis=(1, 3))
    return 255 * float(np.quantile(medians, CALM_SHARE)) / NORMAL_MEDIAN
