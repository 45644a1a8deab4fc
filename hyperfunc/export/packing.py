"""What files and pages share: windows that only pad are left out, and numbers become integers."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from hyperfunc.function import FunctionalImage

MIN_WINDOWS_PER_SCALE = 32
"""A scale takes 4 bytes, so it pays where at least this many windows share it."""


def without_padding(function: FunctionalImage) -> FunctionalImage:
    """Remove the windows that only pad a tile, and the pixels under them."""
    spans = []
    for exists in function.exists:
        (present,) = np.nonzero(np.asarray(exists))
        if len(present) == 0 or len(present) != present[-1] - present[0] + 1:
            raise ValueError("the windows that exist must be a block, with at least one window")
        spans.append(slice(int(present[0]), int(present[-1]) + 1))
    if all(span == slice(0, len(e)) for span, e in zip(spans, function.exists, strict=True)):
        return function
    if not function.layout.is_per_pixel:
        raise ValueError("only a functional image with a window per pixel may have padding")
    rows, cols = spans
    size = (rows.stop - rows.start, cols.stop - cols.start)
    return dataclasses.replace(
        function,
        theta=function.theta.map_windows(lambda leaf: leaf[:, rows, cols]),
        base=None if function.base is None else function.base[:, rows, cols],
        exists=(jnp.ones(size[0]), jnp.ones(size[1])),
        size=size,
    )


def quantize_int8(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round theta [b, window rows, window columns, ...] to int8 and its scales, float32.

    Each parameter has its own scale for each row of windows, so that a highlight coarsens its own
    row only. Where rows are short, all windows share the scale of a parameter; where there are few
    windows, too, parameters share the scale of their column of the last axis.
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
    """Restore the uint8 or uint16 image that a base image was made of; float32 if of none."""
    for dtype in (np.uint8, np.uint16):
        top = np.float32(np.iinfo(dtype).max)
        levels = np.round(np.clip(base, 0, 1) * top)
        # Dividing by 255 and multiplying by 1 / 255 differ by up to 2^-24, half a unit near 1.
        if np.abs(levels / top - base).max() <= 2.0**-23:
            return levels.astype(dtype)
    return base.astype(np.float32)
