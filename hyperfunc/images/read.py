"""Reading image files: as they are (`read_photo`), as a browser shows them, or as 8-bit RGB."""

import dataclasses
import math
import os

import numpy as np
from jaxtyping import UInt8

from hyperfunc.errors import UserError
from hyperfunc.images.colours import convert_to_srgb, flatten, reduce_depth, split_alpha
from hyperfunc.images.libvips import File, set_field, to_array
from hyperfunc.images.metadata import Metadata
from hyperfunc.images.opening import Header, open_image
from hyperfunc.pixels import has_alpha
from hyperfunc.types import HostPixels

MAX_PIXELS = 2**31
"""Larger images are refused: no output may be larger, either."""

MAX_PIXELS_TO_ENCODE = 2**28
"""Larger images are refused where they would be used as a whole: that takes far more memory."""

FLOAT_TOLERANCE = 1e-3
"""By how much floats may leave [0, 1], since they are rounded."""


@dataclasses.dataclass(frozen=True)
class Photo:
    """An image and its metadata.

    Attributes:
        pixels: `[h, w, c]`, uint8 (0..255), uint16 (0..65535) or float32, of 1 to 4 channels (grey,
            grey + alpha, RGB, RGBA; alpha is straight), upright.
        metadata: what the file says besides the pixels.
        notes: what reading could not keep, for people to read.
    """

    pixels: HostPixels
    metadata: Metadata = Metadata()
    notes: tuple[str, ...] = ()


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what an image file holds, without its pixels.

    Raises:
        UserError: there is no such file, or it is no image.
    """
    with open_image(path) as (_, header):
        return header


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Read an image file.

    Palettes become RGB or RGBA, 1 bit becomes grey of 8 bits, a transparent colour becomes alpha,
    CMYK and Lab become sRGB (through the file's ICC profile if it has one), and the EXIF
    orientation is applied. Of several images, the first is read.

    Raises:
        UserError: there is no such file, or it is no image, damaged, or of an unknown kind.
    """
    return _read(path, MAX_PIXELS)


def read_as_shown(path: str | os.PathLike[str]) -> Photo:
    """Read an image file as a browser shows it: grey or RGB, in sRGB, on white where it is clear.

    Raises:
        UserError: as for `read_photo`, or there are floats outside [0, 1].
    """
    photo = _read(path, MAX_PIXELS_TO_ENCODE)
    low, high = photo.pixels.min(), photo.pixels.max()
    is_float = photo.pixels.dtype == np.float32
    if is_float and not (low >= -FLOAT_TOLERANCE and high <= 1 + FLOAT_TOLERANCE):
        raise UserError(
            f"{os.fspath(path)}: values from {low:g} to {high:g}; floats have to be in [0, 1]"
        )
    photo = to_srgb(photo)
    if has_alpha(photo.pixels.shape[2]):
        photo = dataclasses.replace(photo, pixels=flatten(photo.pixels))
    return photo


def read_image(
    source: str | os.PathLike[str] | File, *, name: str | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file as RGB, 0..255, for training and evaluation.

    Grey becomes R = G = B; alpha is dropped; 16 bits and floats (as [0, 1]) are reduced to 8 bits.
    Everything else is as for `read_photo`.

    Args:
        source: a path, or an open binary file.
        name: of the image in error messages; the path if None.

    Raises:
        UserError: there is no such file, or it is no image, damaged, or of an unknown kind.
    """
    pixels = _read(source, MAX_PIXELS_TO_ENCODE, name).pixels
    colour = reduce_depth(split_alpha(pixels)[0], np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def to_srgb(photo: Photo) -> Photo:
    """Convert to sRGB through the ICC profile, unless that is sRGB already."""
    pixels, icc, note = convert_to_srgb(photo.pixels, photo.metadata.icc)
    if note is None:
        return photo
    return Photo(pixels, dataclasses.replace(photo.metadata, icc=icc), (*photo.notes, note))


def _read(source: str | os.PathLike[str] | File, max_pixels: int, name: str | None = None) -> Photo:
    with open_image(source, name) as (image, header):
        height, width = header.size
        if math.prod(header.size) > max_pixels:
            raise ValueError(f"its {width} x {height} pixels are more than {max_pixels:,}")
        if header.orientation != 1:
            image = image.copy_memory()  # Turning needs the pixels in another order.
            set_field(image, "orientation", header.orientation)
            image = image.autorot()
        pixels = to_array(image)
        if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
            raise ValueError("it holds values that are not finite numbers")
    return Photo(pixels, header.metadata, header.notes)
