"""Opening image files of any format, and saying what is in them before they are decoded."""

import contextlib
import dataclasses
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.images import other_formats
from hyperfunc.images.colours import decode_to_srgb
from hyperfunc.images.containers import PNG_SIGNATURE, estimate_quality
from hyperfunc.images.exif import Directory, Tag, get_int, read_directory
from hyperfunc.images.libvips import (
    DTYPES,
    LOADERS,
    File,
    from_array,
    get_field,
    open_source,
    set_field,
)
from hyperfunc.images.metadata import Metadata, read_metadata
from hyperfunc.types import Size

if TYPE_CHECKING:
    import pyvips

CHANNELS = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"}
"""Names of the arrays that images are read into, by their channels."""

SIGNATURES = {
    PNG_SIGNATURE: "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"GIF8": "GIF",
}
"""Formats by the first bytes of a file."""

WHITE_IS_ZERO = 0
"""A value of `Tag.PHOTOMETRIC`."""

ALPHA = (1, 2)
"""Values of `Tag.EXTRA_SAMPLES`: premultiplied and straight."""


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


@contextlib.contextmanager
def open_image(
    source: str | os.PathLike[str] | File, name: str | None = None
) -> "Iterator[tuple[pyvips.Image, Header]]":
    """Open an image: what is decoded from it has the channels and the type of a `Photo`.

    Args:
        source: a path, or an open binary file.
        name: of the image in error messages; the path or the name of the file if None.

    Raises:
        UserError: there is no such file, or it is no image, damaged, or of an unknown kind.
    """
    is_path = isinstance(source, str | os.PathLike)
    name = name or str(source if is_path else getattr(source, "name", "image"))
    with _reporting(name), contextlib.ExitStack() as stack:
        file = stack.enter_context(_open_file(Path(source))) if is_path else source
        file.seek(0)
        format_ = _recognise(file.read(16))
        tags = read_directory(file) if format_ == "TIFF" else {}
        if format_ == "TIFF" and other_formats.is_rare_tiff(tags):
            image = _open_rare_tiff(file, tags)
        elif format_ in LOADERS:
            image = stack.enter_context(open_source(file, format_))
        else:
            format_, pixels, bits = other_formats.decode(file)
            image = from_array(pixels)
            set_field(image, "bits-per-sample", bits)
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
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name}: cannot be read as an image ({reason}); repair or remove it"
        ) from error


def _open_file(path: Path) -> File:
    # Opening a pipe would wait for a program that writes into it.
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise ValueError("a pipe or a device, not a file")
    return path.open("rb")


def _recognise(start: bytes) -> str:
    """Return the format of a file from its first 16 bytes; "" if it is none of libvips'."""
    for signature, format_ in SIGNATURES.items():
        if start.startswith(signature):
            return format_
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    return "AVIF" if start[4:8] == b"ftyp" else ""


def _open_rare_tiff(file: File, tags: Directory) -> "pyvips.Image":
    pixels = other_formats.decode_rare_tiff(file)
    is_lab = get_int(tags, Tag.PHOTOMETRIC, 0) == other_formats.LAB
    image = from_array(pixels, "lab" if is_lab else None)
    set_field(image, "orientation", get_int(tags, Tag.ORIENTATION, 1))
    set_field(image, "bits-per-sample", get_int(tags, Tag.BITS_PER_SAMPLE, 8))
    return image


def _describe(
    image: "pyvips.Image", file: File, format_: str, tags: Directory
) -> "tuple[pyvips.Image, Header]":
    metadata, orientation = read_metadata(image, file, format_, tags)
    colours, bits = _name_colours(image)
    frames = get_field(image, "n-pages", 1)
    notes = [f"only the first of {frames} images"] if frames > 1 else []
    image = _select_channels(image, tags, notes)
    if image.interpretation in ("cmyk", "lab", "labs"):
        image, note = decode_to_srgb(image, metadata.icc)
        metadata = dataclasses.replace(metadata, icc=get_field(image, "icc-profile-data"))
        notes.append(note)
    image = _check_depth(image, bits)
    height, width = image.height, image.width
    header = Header(
        format=format_,
        size=(width, height) if orientation >= 5 else (height, width),
        channels=image.bands,
        dtype=np.dtype(DTYPES[str(image.format)]),
        colours=colours,
        bits=bits,
        orientation=orientation,
        frames=frames,
        quality=estimate_quality(file) if format_ == "JPEG" else None,
        metadata=metadata,
        notes=tuple(notes),
    )
    return image, header


def _name_colours(image: "pyvips.Image") -> tuple[str, int]:
    """Name the colours of an opened file, and return its bits per channel."""
    bits = get_field(image, "bits-per-sample", 8)
    transparency = " with transparency" * image.hasalpha()
    if get_field(image, "palette"):
        return "palette" + transparency, bits
    if bits == 1:
        return "black and white" + transparency, bits
    others = {"cmyk": "CMYK", "lab": "Lab", "labs": "Lab"}
    default = CHANNELS.get(image.bands, f"{image.bands} channels")
    return others.get(str(image.interpretation), default), bits


def _select_channels(image: "pyvips.Image", tags: Directory, notes: list[str]) -> "pyvips.Image":
    """Keep the colours, and alpha if there is one; invert floats of which zero is white."""
    colours = {"b-w": 1, "grey16": 1, "cmyk": 4}.get(str(image.interpretation), 3)
    has_alpha = image.bands > colours
    if tags and has_alpha:
        has_alpha = get_int(tags, Tag.EXTRA_SAMPLES, 0) in ALPHA
        if not has_alpha and Tag.EXTRA_SAMPLES in tags:
            notes.append("the channel after its colours is left out: what it means is not stated")
    if image.bands > colours + has_alpha:
        image = image.extract_band(0, n=colours + has_alpha)
    is_negative = bool(tags) and get_int(tags, Tag.PHOTOMETRIC, 1) == WHITE_IS_ZERO
    if is_negative and image.format == "float":  # libvips inverts integers only.
        factors, offsets = [-1.0, 1.0], [1.0, 0.0]
        image = image.linear(factors[: image.bands], offsets[: image.bands])
    return image


def _check_depth(image: "pyvips.Image", bits: int) -> "pyvips.Image":
    """Refuse types of numbers that a `Photo` cannot hold; stretch 10 and 12 bits to 16.

    Raises:
        ValueError: the file has such numbers.
    """
    if image.format not in DTYPES:
        signed = "signed " if image.format in ("char", "short", "int") else ""
        raise ValueError(
            f"its samples are {signed}integers of {bits} bits; save it with 8 or 16 bits or as "
            "floats"
        )
    if image.format == "ushort" and 8 < bits < 16:
        # libvips fills the lower bits of AVIF with zeros, and white would not be white.
        image = image | (image >> bits)
    return image
