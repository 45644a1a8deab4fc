"""Colours and depths of pixels: to sRGB, on white, to fewer bits."""

import contextlib
import io
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

from hyperfunc.types import HostPixels

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

SAME = 2
"""Levels of 255 by which a profile that means sRGB may differ from it."""


def decode_to_srgb(
    image: Image.Image, icc: bytes | None
) -> tuple[UInt8[np.ndarray, "h w 3"], bytes | None, str]:
    """Convert an image that Pillow opened as CMYK or Lab to sRGB, with 8 bits.

    Returns:
        The pixels, their ICC profile if the conversion was exact, and what was done, for people.
    """
    tiles = [tile.args for tile in getattr(image, "tile", ())]  # names the raw mode
    profile: Any = None
    how = "converted from CMYK to sRGB through its ICC profile"
    if image.mode == "LAB":
        profile, how = ImageCms.createProfile("LAB"), "converted from Lab to sRGB"
    elif icc:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            profile = ImageCms.getOpenProfile(io.BytesIO(icc))
    if profile is not None:
        with contextlib.suppress(ImageCms.PyCMSError):
            pixels = _convert(image, _make_transform(profile, image.mode))
            return pixels, SRGB.tobytes(), how + ", with 8 bits" * ("16" in str(tiles))
    note = f"converted from {image.mode} to RGB without an ICC profile: colours may be off"
    return np.asarray(image.convert("RGB")), None, note


def convert_to_srgb(pixels: HostPixels, icc: bytes) -> tuple[HostPixels, str | None]:
    """Convert to sRGB through an ICC profile, with 8 bits, where it does not say sRGB already.

    Returns:
        The pixels, and what was done, for people; what was given, and None, if nothing was.
    """
    channels = pixels.shape[2]
    alpha = pixels[..., channels - 1 :] if channels in (2, 4) else pixels[..., :0]
    colour = pixels[..., : channels - alpha.shape[2]]
    try:
        profile = ImageCms.getOpenProfile(io.BytesIO(icc))
        transform = _make_transform(profile, "L" if colour.shape[2] == 1 else "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        return pixels, f"the ICC profile cannot be applied ({error}): colours may be off"

    def convert(part: np.ndarray) -> np.ndarray:
        part = part[..., 0] if part.shape[2] == 1 else np.ascontiguousarray(part)
        return _convert(Image.fromarray(part), transform)

    levels = np.arange(0, 256, 17, dtype=np.uint8)
    probe = np.stack(np.meshgrid(*[levels] * colour.shape[2], indexing="ij"), axis=-1)
    probe = probe.reshape(len(levels), -1, colour.shape[2])
    if np.abs(convert(probe).astype(int) - probe).max() <= SAME:
        return pixels, None
    eight = [x if x.dtype == np.uint8 else to_integers(x, np.uint8) for x in (colour, alpha)]
    bits = "" if pixels.dtype == np.uint8 else ", with 8 bits"
    converted = np.concatenate([convert(eight[0]), eight[1]], axis=-1)
    return converted, f"converted to sRGB through its ICC profile{bits}"


def _make_transform(profile: Any, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        profile,
        SRGB,
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _convert(
    image: Image.Image, transform: ImageCms.ImageCmsTransform
) -> UInt8[np.ndarray, "h w 3"]:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return np.asarray(converted)


def flatten(pixels: np.ndarray) -> np.ndarray:
    """Lay an image with alpha on white."""
    largest = _largest(pixels)
    result = np.empty((*pixels.shape[:2], pixels.shape[2] - 1), pixels.dtype)
    for start in range(0, len(pixels), 256):
        part = pixels[start : start + 256].astype(np.float32) / largest
        colour = part[..., :-1] * part[..., -1:] + 1 - part[..., -1:]
        result[start : start + 256] = _quantise(colour, pixels.dtype)
    return result


def to_integers(pixels: np.ndarray, dtype: Any) -> np.ndarray:
    """To fewer bits, with rounding."""
    result = np.empty(pixels.shape, dtype)
    for start in range(0, len(pixels), 256):
        part = pixels[start : start + 256].astype(np.float32) / _largest(pixels)
        result[start : start + 256] = _quantise(part, dtype)
    return result


def _quantise(values: np.ndarray, dtype: Any) -> np.ndarray:
    if dtype == np.float32:
        return values
    return np.floor(np.clip(values, 0, 1) * np.iinfo(dtype).max + 0.5).astype(dtype)


def _largest(pixels: np.ndarray) -> int:
    return 1 if pixels.dtype == np.float32 else int(np.iinfo(pixels.dtype).max)
