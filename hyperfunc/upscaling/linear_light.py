"""Averaging light instead of encoded values, where an image is reduced."""

import numpy as np

from hyperfunc.images import decode_srgb, encode_srgb
from hyperfunc.types import HostPixels, Size
from hyperfunc.values import has_alpha, to_integers, to_unit_range


def is_linearized(image: HostPixels, size: Size) -> bool:
    """Whether light is averaged: an image of integers becomes smaller on both axes."""
    height, width, _ = image.shape
    return image.dtype != np.float32 and size[0] < height and size[1] < width


def to_light(image: HostPixels) -> HostPixels:
    """Turn integers, encoded as sRGB, into light in [0, 1], float32; alpha is kept."""
    pixels = to_unit_range(image)
    colours = slice(0, pixels.shape[2] - has_alpha(pixels.shape[2]))
    pixels[..., colours] = decode_srgb(pixels[..., colours])
    return pixels


def from_light(pixels: HostPixels, dtype: np.dtype) -> HostPixels:
    """Turn an image of `to_light` into integers."""
    colours = slice(0, pixels.shape[2] - has_alpha(pixels.shape[2]))
    pixels[..., colours] = encode_srgb(pixels[..., colours])
    return to_integers(pixels, dtype)
