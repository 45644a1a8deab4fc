"""Rounding of theta and of base images to integers, for files and pages."""

import math

import numpy as np

MIN_WINDOWS_PER_SCALE = 32
"""A scale takes 4 bytes, so it pays where at least this many windows share it."""


def quantize_int8(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round theta to integers from -127 to 127, times a scale.

    Args:
        values: [b, window rows, window columns, ...], finite. Each parameter has its own scale for
            each row of windows, so that a highlight coarsens its own row only. Where rows are
            short, all windows share the scale of a parameter; where there are few windows, too,
            parameters share the scale of their column of the last axis.

    Returns:
        The integers, int8, and their scales, float32, which broadcast against them.
    """
    if values.shape[2] >= MIN_WINDOWS_PER_SCALE:
        axes = (2,)
    elif math.prod(values.shape[:3]) >= MIN_WINDOWS_PER_SCALE:
        axes = (0, 1, 2)
    else:
        axes = tuple(range(values.ndim - 1))
    scale = np.abs(values).max(axis=axes, keepdims=True).astype(np.float32) / np.float32(127)
    scale = np.where(scale > 0, scale, np.float32(1))
    return np.clip(np.round(values / scale), -127, 127).astype(np.int8), scale


def quantize_base(base: np.ndarray) -> np.ndarray:
    """Restore the 8- or 16-bit image that a base image was made of, if it was made of one.

    Args:
        base: nominally in [0, 1].

    Returns:
        Levels, uint8 or uint16, where they are equal to the base; else the base as float32.
    """
    for dtype in (np.uint8, np.uint16):
        top = np.float32(np.iinfo(dtype).max)
        levels = np.round(np.clip(base, 0, 1) * top)
        # Dividing by 255 and multiplying by 1 / 255 differ by up to 2^-24, half a unit near 1.
        if np.abs(levels / top - base).max() <= 2.0**-23:
            return levels.astype(dtype)
    return base.astype(np.float32)
