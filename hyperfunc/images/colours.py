"""Channels, colours and depth of pixels: to sRGB, onto white, to fewer bits, to floats and back."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from hyperfunc.images import libvips
from hyperfunc.images.exif import Directory, Tag, get_int
from hyperfunc.images.metadata import Photo
from hyperfunc.images.png_colours import find_conversion
from hyperfunc.types import HostPixels
from hyperfunc.values import split_alpha, to_integers, to_unit_range

if TYPE_CHECKING:
    import pyvips

CHANNELS = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"}
"""Names of the arrays that images are read into, by their channels."""

CONVERSION = {"intent": "relative", "black_point_compensation": True}
"""How colours are converted: as photo editors do it by default."""

ROWS = 256
"""Rows that are converted at a time."""


def to_uint8(image: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """[0, 1] to 0..255, rounded half up; values outside the range are clipped."""
    return to_integers(image, np.uint8)


def flatten(pixels: HostPixels) -> HostPixels:
    """Lay an image with alpha on white."""
    result = np.empty((*pixels.shape[:2], pixels.shape[2] - 1), pixels.dtype)
    return _fill(result, pixels, lambda part: part[..., :-1] * part[..., -1:] + 1 - part[..., -1:])


def reduce_depth(pixels: HostPixels, dtype: type[np.unsignedinteger]) -> HostPixels:
    """Reduce to uint8 or uint16, rounded half up; floats are clipped to [0, 1]."""
    if pixels.dtype == dtype:
        return pixels
    return _fill(np.empty(pixels.shape, dtype), pixels, lambda part: part)


def _fill(result: HostPixels, pixels: HostPixels, change: Callable[[Any], Any]) -> HostPixels:
    """Change values in [0, 1] by rows: floats of the whole image would need much memory."""
    for start in range(0, len(pixels), ROWS):
        part = change(to_unit_range(pixels[start : start + ROWS]))
        is_float = result.dtype == np.float32
        result[start : start + ROWS] = part if is_float else to_integers(part, result.dtype)
    return result


def is_profile(icc: bytes | None, space: bytes) -> bool:
    """Whether an ICC profile is complete and of a colour space such as ``b"CMYK"``."""
    icc = icc or b""
    is_complete = len(icc) > 128 and int.from_bytes(icc[:4], "big") <= len(icc)
    return is_complete and icc[16:20] == space and icc[36:40] == b"acsp"


def name_colours(image: "pyvips.Image") -> tuple[str, int]:
    """Name the colours of an opened file, and return its bits per channel."""
    bits = libvips.get_field(image, "bits-per-sample", 8)
    others = {"cmyk": "CMYK", "lab": "Lab", "labs": "Lab"}
    default = CHANNELS.get(image.bands, f"{image.bands} channels")
    name = others.get(str(image.interpretation), default)
    if libvips.get_field(image, "palette") or bits == 1:
        name = "palette" if libvips.get_field(image, "palette") else "black and white"
        name += " with transparency" * image.hasalpha()
    return name, bits


def select_channels(image: "pyvips.Image", tags: Directory, notes: list[str]) -> "pyvips.Image":
    """Keep the colours, and alpha if there is one; invert floats of which zero is white."""
    colours = {"b-w": 1, "grey16": 1, "cmyk": 4}.get(str(image.interpretation), 3)
    keeps_alpha = image.bands > colours
    if tags and keeps_alpha:
        keeps_alpha = get_int(tags, Tag.EXTRA_SAMPLES, 0) in (1, 2)  # Premultiplied, straight.
        if not keeps_alpha and Tag.EXTRA_SAMPLES in tags:
            notes.append("the channel after its colours is left out: what it means is not stated")
    if image.bands > colours + keeps_alpha:
        image = image.extract_band(0, n=colours + keeps_alpha)
    is_white_zero = get_int(tags, Tag.PHOTOMETRIC, 1) == 0
    if is_white_zero and image.format == "float":  # libvips inverts integers only.
        factors, offsets = [-1.0, 1.0], [1.0, 0.0]
        image = image.linear(factors[: image.bands], offsets[: image.bands])
    return image


def check_depth(image: "pyvips.Image", bits: int) -> "pyvips.Image":
    """Refuse types of numbers that a `Photo` cannot hold; stretch 10 and 12 bits to 16."""
    if image.format not in libvips.DTYPES:
        signed = "signed " if image.format in ("char", "short", "int") else ""
        raise ValueError(
            f"its samples are {signed}integers of {bits} bits; save it with 8 or 16 bits or as "
            "floats"
        )
    if image.format == "ushort" and 8 < bits < 16:
        # libvips fills the lower bits of AVIF with zeros, and white would not be white.
        image = image | (image >> bits)
    return image


def decode_to_srgb(image: "pyvips.Image", icc: bytes | None) -> "tuple[pyvips.Image, str]":
    """Convert an opened image of CMYK or Lab to sRGB of 8 or 16 bits, and note how."""
    options = {**CONVERSION, "depth": 8 if image.format == "uchar" else 16}
    if image.interpretation != "cmyk":
        return image.icc_export(output_profile="srgb", **options), "converted from Lab to sRGB"
    # Without a profile that fits, libvips takes its own, of a printing press.
    image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", **options)
    if is_profile(icc, b"CMYK"):
        return image, "converted from CMYK to sRGB through its ICC profile"
    return image, "converted from CMYK to sRGB without an ICC profile: colours may be off"


def to_srgb(photo: Photo) -> Photo:
    """Convert to sRGB, through the ICC profile or a PNG's chunks; floats become 16 bits."""
    pixels, icc = photo.pixels, photo.metadata.icc
    if b"cICP" in photo.metadata.colour or (icc is None and photo.metadata.colour):
        return _apply_chunks(photo)
    if icc is None:
        return photo
    colour, alpha = split_alpha(pixels)
    channels = colour.shape[2]
    dtype = np.uint8 if pixels.dtype == np.uint8 else np.uint16
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    probe = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), axis=-1)
    probe = probe.reshape(len(levels), -1, channels)
    try:
        if not is_profile(icc, b"GRAY" if channels == 1 else b"RGB "):
            raise ValueError("it is damaged, or does not fit the image")
        # A profile whose colours differ from libvips' sRGB by at most 2 of 255 levels is sRGB.
        if np.abs(_convert(probe, icc)[0].astype(int) - probe).max() <= 2:
            return photo
        colour, icc = _convert(reduce_depth(colour, dtype), icc)
    except ValueError as error:
        note = f"the ICC profile cannot be applied ({error}): colours may be off"
    else:
        note = "converted to sRGB through its ICC profile"
        pixels = np.concatenate([colour, reduce_depth(alpha, dtype)], axis=-1)
    return Photo(pixels, dataclasses.replace(photo.metadata, icc=icc), (*photo.notes, note))


def _apply_chunks(photo: Photo) -> Photo:
    """Convert the colours of a PNG, which has 8 or 16 bits, as its chunks say."""
    metadata, pixels = photo.metadata, photo.pixels.copy()
    try:
        convert, note = find_conversion(metadata.colour)
    except ValueError as error:
        return dataclasses.replace(photo, notes=(*photo.notes, f"{error}: colours may be off"))
    colour = split_alpha(pixels)[0]
    _fill(colour, colour, convert)
    metadata = dataclasses.replace(metadata, icc=None, colour={})
    return Photo(pixels, metadata, (*photo.notes, note))


def _convert(pixels: HostPixels, icc: bytes) -> tuple[HostPixels, bytes]:
    """Convert grey or RGB of 8 or 16 bits to sRGB; also return the new profile."""
    image = libvips.from_array(pixels)
    libvips.set_field(image, "icc-profile-data", icc)
    depth = 8 * pixels.dtype.itemsize
    with libvips.reporting():
        image = image.icc_transform("srgb", embedded=True, depth=depth, **CONVERSION)
        return libvips.to_array(image), libvips.get_field(image, "icc-profile-data")
