"""Reading image files: as they are (`read_photo`), as a browser shows them, or as 8-bit RGB."""

import contextlib
import dataclasses
import math
import os
import re
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from hyperfunc.errors import UserError
from hyperfunc.files import as_path
from hyperfunc.images import colours, libvips, other_formats
from hyperfunc.images.containers import estimate_quality, has_second_picture
from hyperfunc.images.exif import Directory, Tag, read_directory
from hyperfunc.images.kinds import OtherKindError
from hyperfunc.images.libvips import File, get_field
from hyperfunc.images.metadata import Metadata, Photo, read_metadata
from hyperfunc.images.picture_tags import drop_lost_parts
from hyperfunc.types import Size
from hyperfunc.values import has_alpha, split_alpha

if TYPE_CHECKING:
    import pyvips

MAX_PIXELS = 2**31
"""Larger images are refused: no output may be larger, either."""

MAX_PIXELS_TO_ENCODE = 2**28
"""Larger images are refused where they would be used as a whole: that takes far more memory."""

FLOAT_TOLERANCE = 1e-3
"""By how much floats may leave [0, 1], since they are rounded."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What an image file holds, without its pixels.

    Attributes:
        format: "PNG", "JPEG", ...
        size: (height, width) in pixels, upright.
        channels: of the `Photo` that is read.
        dtype: of the `Photo` that is read.
        colours: how the file stores them, such as "palette with transparency".
        bits: per channel, or per pixel of a palette, in the file.
        orientation: 1 to 8 as EXIF counts; a `Photo` is upright already.
        frames: images in the file, of which the first is read.
        quality: of a JPEG, 1 to 100 as libjpeg counts, estimated from its quantisation.
        metadata: what the file says besides the pixels.
        notes: what a `Photo` of the file cannot keep, for people to read.
    """

    format: str
    size: Size
    channels: int
    dtype: np.dtype[Any]
    colours: str
    bits: int
    orientation: int
    frames: int
    quality: int | None
    metadata: Metadata
    notes: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Memory of the decoded image."""
        return math.prod(self.size) * self.channels * self.dtype.itemsize


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what an image file holds, without its pixels; otherwise as `read_photo`."""
    with _open_image(path) as (_, header):
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
    photo = colours.to_srgb(photo)
    if has_alpha(photo.pixels.shape[2]):
        photo = dataclasses.replace(photo, pixels=colours.flatten(photo.pixels))
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
    colour = colours.reduce_depth(split_alpha(pixels)[0], np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))


def _read(source: str | os.PathLike[str] | File, max_pixels: int, name: str | None = None) -> Photo:
    with _open_image(source, name) as (image, header):
        height, width = header.size
        if math.prod(header.size) > max_pixels:
            raise ValueError(f"its {width} x {height} pixels are more than {max_pixels:,}")
        if header.orientation != 1:
            image = image.copy_memory()  # Turning needs the pixels in another order.
            libvips.set_field(image, "orientation", header.orientation)
            image = image.autorot()
        pixels = libvips.to_array(image)
        if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
            raise ValueError("it holds values that are not finite numbers")
    return Photo(pixels, header.metadata, header.notes)


@contextlib.contextmanager
def _open_image(
    source: str | os.PathLike[str] | File, name: str | None = None
) -> "Iterator[tuple[pyvips.Image, Header]]":
    """Open an image: what is decoded from it has the channels and the type of a `Photo`."""
    is_path = isinstance(source, str | os.PathLike)
    name = name or str(as_path(source) if is_path else getattr(source, "name", "image"))
    with _reporting(name), contextlib.ExitStack() as stack:
        if is_path:
            path = as_path(source)
            # Opening a pipe would wait for a program that writes into it.
            if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
                raise OtherKindError("is a pipe or a device, not a file; give a file")
            file = stack.enter_context(path.open("rb"))
        else:
            file = source
        file.seek(0)
        start = file.read(64)
        matches = [x for x, codec in libvips.CODECS.items() if re.match(codec.start, start)]
        tags = read_directory(file) if matches == ["TIFF"] else {}
        if tags and other_formats.is_rare_tiff(tags):
            format_, image = "TIFF", other_formats.decode_rare_tiff(file, tags)
        elif matches:
            (format_,) = matches
            image = stack.enter_context(libvips.open_source(file, format_))
        else:
            format_, image = other_formats.decode(file)
        yield _describe(image, file, format_, tags)


@contextlib.contextmanager
def _reporting(name: str) -> Iterator[None]:
    """Report in one line what is wrong with a file."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; check the path") from None
    except PermissionError:
        raise UserError(f"{name}: permission denied; check who may read it") from None
    except IsADirectoryError:
        raise UserError(f"{name}: cannot be read: it is a folder; give an image") from None
    except OtherKindError as error:
        raise UserError(f"{name}: {error}") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name}: cannot be read as an image ({reason}); repair or remove it"
        ) from error


def _describe(
    image: "pyvips.Image", file: File, format_: str, tags: Directory
) -> "tuple[pyvips.Image, Header]":
    """Convert an opened image to what a `Photo` can hold, and say what the file holds."""
    notes: list[str] = []
    metadata, orientation = read_metadata(image, file, format_, tags, notes)
    kind, bits = colours.name_colours(image)
    frames = get_field(image, "n-pages", 1)
    if frames > 1:
        notes.append(f"only the first of {frames} images")
    metadata, lost = drop_lost_parts(metadata, frames)
    if format_ == "JPEG" and not lost and has_second_picture(file):
        lost = ["second picture"]
    notes += [f"its {part} is dropped" for part in lost]
    if Tag.GEO_KEYS in tags:
        notes.append("its georeference is dropped")
    image = colours.select_channels(image, tags, notes)
    if image.interpretation in ("cmyk", "lab", "labs"):
        image, note = colours.decode_to_srgb(image, metadata.icc)
        metadata = dataclasses.replace(metadata, icc=get_field(image, "icc-profile-data"))
        notes.append(note)
    image = colours.check_depth(image, bits)
    if bits > 8 and image.format == "uchar":
        notes.append(f"its {bits} bits per channel are reduced to 8")
    height, width = image.height, image.width
    header = Header(
        format=format_,
        size=(width, height) if orientation >= 5 else (height, width),
        channels=image.bands,
        dtype=np.dtype(libvips.DTYPES[str(image.format)]),
        colours=kind,
        bits=bits,
        orientation=orientation,
        frames=frames,
        quality=estimate_quality(file) if format_ == "JPEG" else None,
        metadata=metadata,
        notes=tuple(notes),
    )
    return image, header
