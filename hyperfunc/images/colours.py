"""Colours and depth of pixels: to sRGB, onto white, to fewer bits, to floats and back."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, UInt8

from hyperfunc.images.libvips import from_array, get_field, reporting, set_field, to_array
from hyperfunc.pixels import has_alpha, to_integers, to_unit_range
from hyperfunc.types import HostPixels

if TYPE_CHECKING:
    import pyvips

CONVERSION = {"intent": "relative", "black_point_compensation": True}
"""How colours are converted: as photo editors do it by default."""

SRGB_TOLERANCE = 2
"""Levels of 255 by which a profile of sRGB may differ from libvips'."""

PROBE_STEP = 17
"""Levels of 255 between the colours at which a profile is compared with sRGB."""

ROWS = 256
"""Rows that are converted at a time: floats of the whole image would need much memory."""


def to_uint8(image: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """[0, 1] to 0..255, rounded half up; values outside the range are clipped."""
    return to_integers(image, np.uint8)


def to_float(image: UInt8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """0..255 to [0, 1]."""
    return to_unit_range(image)


def split_alpha(pixels: HostPixels) -> tuple[HostPixels, HostPixels]:
    """Views of the colours and of alpha, which has no channel if there is none."""
    colours = pixels.shape[2] - has_alpha(pixels.shape[2])
    return pixels[..., :colours], pixels[..., colours:]


def flatten(pixels: HostPixels) -> HostPixels:
    """Lay an image with alpha on white."""
    result = np.empty((*pixels.shape[:2], pixels.shape[2] - 1), pixels.dtype)
    for start in range(0, len(pixels), ROWS):
        part = to_unit_range(pixels[start : start + ROWS])
        colour = part[..., :-1] * part[..., -1:] + 1 - part[..., -1:]
        is_float = pixels.dtype == np.float32
        result[start : start + ROWS] = colour if is_float else to_integers(colour, pixels.dtype)
    return result


def reduce_depth(pixels: HostPixels, dtype: type[np.unsignedinteger]) -> HostPixels:
    """Reduce to uint8 or uint16, rounded half up; floats are clipped to [0, 1]."""
    if pixels.dtype == dtype:
        return pixels
    result = np.empty(pixels.shape, dtype)
    for start in range(0, len(pixels), ROWS):
        part = to_unit_range(pixels[start : start + ROWS])
        result[start : start + ROWS] = to_integers(part, dtype)
    return result


def is_profile(icc: bytes | None, space: bytes) -> bool:
    """Whether an ICC profile is complete and of a colour space such as ``b"CMYK"``."""
    icc = icc or b""
    is_complete = len(icc) > 128 and int.from_bytes(icc[:4], "big") <= len(icc)
    return is_complete and icc[16:20] == space and icc[36:40] == b"acsp"


def decode_to_srgb(image: "pyvips.Image", icc: bytes | None) -> "tuple[pyvips.Image, str]":
    """Convert an opened image of CMYK or Lab to sRGB, with its profile.

    Returns:
        The image, of 8 or 16 bits, and a note about the conversion.
    """
    options = {**CONVERSION, "depth": 8 if image.format == "uchar" else 16}
    if image.interpretation != "cmyk":
        return image.icc_export(output_profile="srgb", **options), "converted from Lab to sRGB"
    # Without a profile that fits, libvips takes its own, of a printing press.
    image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", **options)
    if is_profile(icc, b"CMYK"):
        return image, "converted from CMYK to sRGB through its ICC profile"
    return image, "converted from CMYK to sRGB without an ICC profile: colours may be off"


def convert_to_srgb(
    pixels: HostPixels, icc: bytes | None
) -> tuple[HostPixels, bytes | None, str | None]:
    """Convert to sRGB through an ICC profile, unless that is sRGB already.

    Returns:
        The pixels (8 and 16 bits stay, floats become 16 bits), their profile, and a note about the
        conversion; what was given, and None or a note, if nothing was converted.
    """
    if icc is None:
        return pixels, None, None
    colour, alpha = split_alpha(pixels)
    channels = colour.shape[2]
    dtype = np.uint8 if pixels.dtype == np.uint8 else np.uint16
    levels = np.arange(0, 256, PROBE_STEP, dtype=np.uint8)
    probe = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), axis=-1)
    probe = probe.reshape(len(levels), -1, channels)
    try:
        if not is_profile(icc, b"GRAY" if channels == 1 else b"RGB "):
            raise ValueError("it is damaged, or does not fit the image")
        if np.abs(_convert(probe, icc)[0].astype(int) - probe).max() <= SRGB_TOLERANCE:
            return pixels, icc, None
        colour, new_icc = _convert(reduce_depth(colour, dtype), icc)
    except ValueError as error:
        return pixels, icc, f"the ICC profile cannot be applied ({error}): colours may be off"
    result = np.concatenate([colour, reduce_depth(alpha, dtype)], axis=-1)
    return result, new_icc, "converted to sRGB through its ICC profile"


def _convert(pixels: HostPixels, icc: bytes) -> tuple[HostPixels, bytes]:
    """Convert grey or RGB of 8 or 16 bits to sRGB; also return the new profile."""
    image = from_array(pixels)
    set_field(image, "icc-profile-data", icc)
    depth = 8 * pixels.dtype.itemsize
    with reporting():
        image = image.icc_transform("srgb", embedded=True, depth=depth, **CONVERSION)
        return to_array(image), get_field(image, "icc-profile-data")
