"""The channels of an image, the range of their values, and rounding: always half up.

Files and batches hold uint8 (0 to 255) or uint16 (0 to 65535), networks see float32 in [0, 1]. All
functions take arrays of NumPy or of JAX.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

TIE = 1e-6
"""Resampled levels so close below k + 0.5 count as ties, which are rounded up."""


def has_alpha(channels: int) -> bool:
    """Whether the last of so many channels is opacity: grey and RGB may have it."""
    return channels in (2, 4)


def split_alpha(pixels: Any) -> tuple[Any, Any]:
    """Return views of the colours and of alpha, which has no channel if there is none."""
    colours = pixels.shape[-1] - has_alpha(pixels.shape[-1])
    return pixels[..., :colours], pixels[..., colours:]


def largest_value(dtype: DTypeLike) -> int:
    """Return the value of white and of full opacity: 255, 65535, or 1 for floats."""
    kind: Any = np.dtype(dtype)
    return 1 if np.issubdtype(kind, np.floating) else np.iinfo(kind).max


def to_unit_range(images: Any) -> Any:
    """Turn uint8 or uint16 images into float32 in [0, 1]; float images stay as they are."""
    if not np.issubdtype(images.dtype, np.unsignedinteger):
        return images
    return images.astype(np.float32) / np.float32(largest_value(images.dtype))


def to_integers(values: Any, dtype: DTypeLike) -> Any:
    """Map floats in [0, 1] to the whole range of uint8 or uint16, clipped and rounded half up."""
    # No value is negative once it is clipped, so the conversion, which truncates, rounds half up.
    return (values.clip(0, 1) * largest_value(dtype) + 0.5).astype(dtype)


def round_levels(values: Any) -> Any:
    """Round floats from 0 to 255 half up, and clip them; the result is still floating.

    Values just below k + 0.5 count as ties. Otherwise the rounding errors of resampling weights
    would decide, and an image would change with the position of the crop.
    """
    xp = values.__array_namespace__()
    return xp.clip(xp.floor(values + (0.5 + TIE)), 0.0, 255.0)


def decode_srgb(values: Any) -> Any:
    """Turn values of sRGB, which are clipped to [0, 1], into light in [0, 1] (IEC 61966-2-1)."""
    xp = values.__array_namespace__()
    values = xp.clip(values, 0, 1)
    return xp.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encode_srgb(light: Any) -> Any:
    """Turn light, which is clipped to [0, 1], into values of sRGB in [0, 1]."""
    xp = light.__array_namespace__()
    # Neither branch has an infinite derivative, which would spoil that of the other.
    light, bright = xp.clip(light, 0, 1), xp.clip(light, 0.0031308, 1)
    return xp.where(light <= 0.0031308, 12.92 * light, 1.055 * bright ** (1 / 2.4) - 0.055)
