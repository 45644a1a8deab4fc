"""Metadata that are no longer true once the size of the picture has changed, or parts are dropped.

References: Adobe, "XMP Specification", Part 2; Adobe, "Gain Map 1.0"; Google, "Photo Sphere XMP
Metadata"; Android, "Ultra HDR Image Format" and "Motion Photo format"; OME, "OME-TIFF
specification"; ImageJ, TiffDecoder.
"""

import dataclasses
import re
from collections.abc import Callable

from hyperfunc.images.exif import Directory, Tag, Value, pack_exif
from hyperfunc.images.metadata import Metadata, read_exif
from hyperfunc.types import Size

LOST_PARTS = {
    "HDR gain map": rb"hdrgm|HDRGainMap",
    "depth map": rb"GDepth",
    "motion picture": rb"GCamera",
    "second picture or sound": rb"GImage|GAudio|GContainer|Container|Item|xmpNote",
}
"""Prefixes of names in XMP that describe parts of a file which are not read."""

XMP_SIZES = {
    1: rb"GPano:(?:FullPanoWidth|CroppedAreaImageWidth|CroppedAreaLeft)Pixels|tiff:ImageWidth"
    rb"|exif:PixelXDimension|stDim:w",
    0: rb"GPano:(?:FullPanoHeight|CroppedAreaImageHeight|CroppedAreaTop)Pixels|tiff:ImageLength"
    rb"|exif:PixelYDimension|stDim:h",
}
"""Numbers of pixels in XMP, along the columns and the rows."""

IMAGEJ_COUNTS = (b"images=", b"channels=", b"slices=", b"frames=", b"hyperstack=")
"""Starts of the lines in ImageJ's description that count the images of a file."""

_NUMBER = rb"([0-9.]+(?:[eE][+-]?[0-9]+)?)"


def drop_lost_parts(metadata: Metadata, frames: int) -> tuple[Metadata, list[str]]:
    """Drop what metadata say about parts of a file that are not read, and name these parts."""
    lost: list[str] = []
    if metadata.xmp:
        xmp, lost = _clean_xmp(metadata.xmp)
        metadata = dataclasses.replace(metadata, xmp=xmp)
    directory, text = _read_description(metadata)
    if frames > 1 and text.startswith(b"ImageJ="):
        kept = [line for line in text.split(b"\n") if not line.startswith(IMAGEJ_COUNTS)]
        metadata = _describe(metadata, directory, b"\n".join(kept))
    elif frames > 1 and _is_microscopy(text):
        metadata = _describe(metadata, directory, b"")
        lost.append("OME-XML, which is of all its images,")
    return metadata, lost


def _clean_xmp(xmp: bytes) -> tuple[bytes, list[str]]:
    lost = []
    for part, prefixes in LOST_PARTS.items():
        name = rb"(?:" + prefixes + rb"):\w+"
        element = rb"<(" + name + rb")\b[^>]*?(?:/>|>.*?</\1\s*>)"
        attribute = rb"\s" + name + rb"""\s*=\s*(?:"[^"]*"|'[^']*')"""
        xmp, count = re.subn(element + rb"|" + attribute, b"", xmp, flags=re.DOTALL)
        lost += [part] * bool(count)
    return re.sub(rb"<(xmp:Thumbnails)\b.*?</\1\s*>", b"", xmp, flags=re.DOTALL), lost


def resize_tags(metadata: Metadata, before: Size, after: Size) -> tuple[Metadata, list[str]]:
    """Change the tags that depend on the number of pixels, and note those that are dropped.

    Panoramas stay whole, and scale bars right: OME-XML and ImageJ state how large a pixel is.
    The resolution of other pictures stays; they are printed larger.
    """
    factors = after[0] / before[0], after[1] / before[1]
    xmp = metadata.xmp
    for axis, names in XMP_SIZES.items() if xmp else ():
        pattern = rb"((?:" + names + rb")(?:\s*=\s*[\"']|>)\s*)" + _NUMBER
        xmp = re.sub(pattern, _multiply(factors[axis]), xmp or b"")
    metadata = dataclasses.replace(metadata, xmp=xmp)
    directory, text = _read_description(metadata)
    if text.startswith(b'{"shape"'):
        notes = ["its description by tifffile, of another shape, is dropped"]
        return _describe(metadata, directory, b""), notes
    if not _is_microscopy(text):
        return metadata, []
    for factor, letter in zip(factors, (b"Y", b"X"), strict=True):
        for name, by in ((b"Size", factor), (b"PhysicalSize", 1 / factor)):  # Of OME-XML.
            pattern = rb"(\b" + name + letter + rb"\s*=\s*[\"'])" + _NUMBER
            text = re.sub(pattern, _multiply(by), text)
    if metadata.dpi:
        dpi = metadata.dpi[0] * factors[1], metadata.dpi[1] * factors[0]
        metadata = dataclasses.replace(metadata, dpi=dpi)
    return _describe(metadata, directory, text), []


def _read_description(metadata: Metadata) -> tuple[Directory, bytes]:
    """Read the EXIF, and the description in it, which is empty if there is none."""
    try:
        directory = read_exif(metadata.exif)
    except ValueError:  # It is dropped when the file is written.
        return {}, b""
    value = directory.get(Tag.DESCRIPTION)
    return directory, value.data.rstrip(b"\0") if isinstance(value, Value) else b""


def _is_microscopy(text: bytes) -> bool:
    """Whether a description is OME-XML or ImageJ's, which state the size of a pixel."""
    return b"<OME" in text[:4096] or text.startswith(b"ImageJ=")


def _describe(metadata: Metadata, directory: Directory, text: bytes) -> Metadata:
    """Replace the description; an empty one is left out."""
    directory = {tag: value for tag, value in directory.items() if tag != Tag.DESCRIPTION}
    if text:
        directory[Tag.DESCRIPTION] = Value(2, len(text) + 1, text + b"\0")
    return dataclasses.replace(metadata, exif=pack_exif(directory) if directory else None)


def _multiply(factor: float) -> Callable[[re.Match[bytes]], bytes]:
    """Make a replacement for a number after a prefix; whole numbers stay whole."""

    def replace(match: re.Match[bytes]) -> bytes:
        number = float(match[2]) * factor
        is_whole = match[2].isdigit() and factor != 1 and b"Physical" not in match[1]
        return match[1] + (b"%d" % int(number + 0.5) if is_whole else b"%.9g" % number)

    return replace
