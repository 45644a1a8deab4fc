"""What image files say besides their pixels: EXIF, ICC profile, XMP, IPTC, resolution, texts.

It is read from any format into one form, and written from that into any format.
"""

import contextlib
import dataclasses
import io
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyperfunc.images import containers
from hyperfunc.images.containers import TEXT_CHUNKS
from hyperfunc.images.exif import (
    Directory,
    Tag,
    Value,
    append_directory,
    get_int,
    get_rational,
    pack_exif,
    read_directory,
)
from hyperfunc.images.libvips import File, get_field, set_field
from hyperfunc.types import HostPixels, Size

if TYPE_CHECKING:
    import pyvips

EXIF_TAGS = {269, 270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)}
EXIF_TAGS |= {Tag.EXIF, Tag.GPS}
"""Tags that a TIFF shares with the first directory of EXIF: texts, the camera, a rating. The others
describe how the pixels of a TIFF are stored, or hold metadata of another kind."""

SRGB_CHUNKS = {
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"cICP": bytes([1, 13, 0, 1]),
}
"""PNG's chunks of the colour space besides the ICC profile, as they are for sRGB."""

XMP_KEYWORD, RAW_EXIF_KEYWORD = "XML:com.adobe.xmp", "Raw profile type exif"
"""Keywords of texts of a PNG that hold metadata; older versions of ImageMagick write the second."""

PHOTOSHOP, IPTC_RESOURCE = b"Photoshop 3.0\0", b"8BIM\x04\x04\0\0"
"""What precedes the IPTC of a JPEG, which is one of the resources of Photoshop there."""

XMP_ORIENTATION = re.compile(
    rb"""tiff:Orientation=["'][0-9]["']|<tiff:Orientation>[0-9]</tiff:Orientation>"""
)

MAX_EXIF_BYTES = 65527
"""libexif keeps no more, in any format but TIFF."""

MAX_JPEG_XMP_BYTES = 60000
"""libvips writes no more into a JPEG."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a file says besides its pixels. None and empty: nothing.

    Attributes:
        exif: camera, time and place, as an EXIF block without the prefix "Exif". An orientation in
            it does not count: the pixels are upright.
        icc: the colour profile of the pixels.
        xmp: an XMP packet, without an orientation.
        iptc: IPTC records.
        dpi: (x, y) pixels per inch.
        texts: texts by keyword (PNG), and "comment" (JPEG).
        colour: PNG's chunks of the colour space, where that is not sRGB.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    colour: dict[bytes, bytes] = dataclasses.field(default_factory=dict)


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


def read_metadata(
    image: "pyvips.Image", file: File, format_: str, tags: Directory, notes: list[str]
) -> tuple[Metadata, int]:
    """Read the metadata and the orientation (1 to 8 as EXIF counts); ``tags`` are a TIFF's."""
    block, texts, colour = get_field(image, "exif-data"), {}, {}
    if format_ == "PNG":
        chunks = list(containers.read_chunks(file))
        block, texts, colour = _parse_chunks(chunks, notes)
        if b"iCCP" in dict(chunks) and not get_field(image, "icc-profile-data"):
            notes.append("ICC profile dropped: it is damaged")
    elif format_ == "TIFF":
        kept = {tag: value for tag, value in tags.items() if tag in EXIF_TAGS}
        block = pack_exif(kept) if kept else None
    elif format_ == "JPEG":
        for marker, data in containers.read_segments(file):
            if marker == containers.COMMENT:
                texts["comment"] = data.decode("utf-8", "replace")
    exif = block.removeprefix(b"Exif\0\0") if block else None
    if not tags:
        with contextlib.suppress(ValueError):
            tags = read_exif(exif)
    orientation = get_field(image, "orientation", 1)
    if format_ == "PNG":  # libvips has not seen EXIF after the pixels.
        orientation = get_int(tags, Tag.ORIENTATION, orientation)
    orientation = orientation if orientation in range(1, 9) else 1
    xmp = texts.pop(XMP_KEYWORD, "").encode() or get_field(image, "xmp-data")
    metadata = Metadata(
        exif=exif,
        icc=get_field(image, "icc-profile-data"),
        xmp=XMP_ORIENTATION.sub(b"", xmp) if xmp else None,
        iptc=_read_iptc(image, tags),
        dpi=_read_dpi(image, tags, is_turned=orientation >= 5),
        texts={key: text for key, text in texts.items() if not key.startswith("Raw profile type")},
        colour=colour,
    )
    return metadata, orientation


def _parse_chunks(
    chunks: list[tuple[bytes, bytes]], notes: list[str]
) -> tuple[bytes | None, dict[str, str], dict[bytes, bytes]]:
    """Find the EXIF block, the texts, and the chunks of the colour space of a PNG."""
    found = dict(chunks)
    if (frames := int.from_bytes(found.get(b"acTL", b"")[:4], "big")) > 1:  # libvips reads one.
        notes.append(f"only the first of {frames} images")
    parsed = [containers.parse_text(*chunk) for chunk in chunks if chunk[0] in TEXT_CHUNKS]
    texts: dict[str, str] = {}
    for keyword, text in filter(None, parsed):
        is_more = keyword in texts and text != texts[keyword] and keyword != XMP_KEYWORD
        texts[keyword] = f"{texts[keyword]}\n{text}" if is_more else text
    if lost := parsed.count(None):
        notes.append(f"texts dropped, which are damaged or of more than 16 MiB: {lost}")
    block = found.get(b"eXIf")
    if block is None and RAW_EXIF_KEYWORD in texts:
        with contextlib.suppress(ValueError):
            block = bytes.fromhex("".join(texts[RAW_EXIF_KEYWORD].split("\n")[3:]))
    # A profile takes precedence over gAMA and cHRM, and cICP over both.
    names = [b"cICP"] if {b"iCCP", b"sRGB"} & found.keys() else SRGB_CHUNKS
    colour = {name: found[name] for name in names if name in found}
    for name in [name for name, data in colour.items() if len(data) != len(SRGB_CHUNKS[name])]:
        notes.append(f"{name.decode()} dropped: it is damaged")
        del colour[name]
    return block, texts, {name: d for name, d in colour.items() if not _means_srgb(name, d)}


def _means_srgb(name: bytes, data: bytes) -> bool:
    usual, tolerance = SRGB_CHUNKS[name], 0 if name == b"cICP" else 100  # In units of 1/100,000.
    numbers, wanted = (np.frombuffer(each, ">u4").astype(np.int64) for each in (data, usual))
    return bool(np.abs(numbers - wanted).max() <= tolerance)


def _read_iptc(image: "pyvips.Image", tags: Directory) -> bytes | None:
    """Read the records of a tag of a TIFF, or among the resources of Photoshop in a JPEG."""
    if Tag.IPTC in tags:
        data = tags[Tag.IPTC].data
        # Programs that state integers of 4 bytes do not mean them: the bytes are not to be swapped.
        is_swapped = not data.startswith(b"\x1c") and len(data) % 4 == 0  # The start of a record.
        return np.frombuffer(data, ">u4").astype("<u4").tobytes() if is_swapped else data
    _, _, rest = get_field(image, "iptc-data", b"").partition(IPTC_RESOURCE)
    return rest[4 : 4 + int.from_bytes(rest[:4], "big")] or None


def _read_dpi(
    image: "pyvips.Image", tags: Directory, *, is_turned: bool
) -> tuple[float, float] | None:
    x, y = 25.4 * image.xres, 25.4 * image.yres
    if _is_square(x, y, 25.4) or _is_square(x, y, 72.0):
        # libvips gives 1 pixel per millimetre, or 72 dpi, to files without a resolution. It
        # overlooks that of WebP and AVIF, which is in the EXIF.
        is_per_centimetre = get_int(tags, Tag.RESOLUTION_UNIT, 2) == 3
        per_inch = 2.54 if is_per_centimetre else 1.0
        x, y = (per_inch * get_rational(tags, tag) for tag in (Tag.X_RESOLUTION, Tag.Y_RESOLUTION))
    if _is_square(x, y, 72.0) or not (0 < x < 1e6 and 0 < y < 1e6):
        return None
    return (y, x) if is_turned else (x, y)


def _is_square(x: float, y: float, dpi: float) -> bool:
    return max(abs(x - dpi), abs(y - dpi)) < 0.05


def fit_metadata(metadata: Metadata, format_: str, notes: list[str]) -> Metadata:
    """Drop what a format has no place for, and note it."""
    if metadata.colour and format_ != "PNG":
        names = ", ".join(name.decode() for name in metadata.colour)
        notes.append(f"{names} dropped, which only PNG has: colours may look different")
    kept = {"comment"} if format_ in ("JPEG", "TIFF") else set()
    if format_ != "PNG" and (lost := metadata.texts.keys() - kept):
        notes.append(f"texts dropped: {', '.join(sorted(lost))[:200]}")
    exif, xmp, iptc = metadata.exif, metadata.xmp, metadata.iptc
    if iptc and format_ not in ("JPEG", "TIFF"):
        notes.append("IPTC dropped")
        iptc = None
    if format_ == "JPEG" and len(xmp or b"") > MAX_JPEG_XMP_BYTES:
        notes.append(f"XMP dropped: a JPEG holds at most {MAX_JPEG_XMP_BYTES} bytes of it")
        xmp = None
    if format_ != "TIFF" and len(exif or b"") > MAX_EXIF_BYTES:
        notes.append(f"EXIF dropped: {format_} holds at most {MAX_EXIF_BYTES} bytes of it")
        exif = None
    try:
        read_exif(exif)
    except ValueError:
        notes.append("EXIF dropped: it is damaged")
        exif = None
    return dataclasses.replace(metadata, exif=exif, xmp=xmp, iptc=iptc)


def read_exif(block: bytes | None) -> Directory:
    """Read the tags of an EXIF block."""
    return read_directory(io.BytesIO(block)) if block else {}


def attach_metadata(image: "pyvips.Image", metadata: Metadata, format_: str) -> "pyvips.Image":
    """Give an image the metadata that libvips writes into a format."""
    image = image.copy()
    if metadata.exif and format_ != "TIFF":
        set_field(image, "exif-data", metadata.exif)
        if image.get_typeof("jpeg-thumbnail-data"):  # It shows the image as it was before.
            image.remove("jpeg-thumbnail-data")
        if not metadata.icc and Tag.COLOUR_SPACE not in read_exif(metadata.exif).get(Tag.EXIF, {}):
            # The tag is mandatory. libvips would add it, but for colours other than sRGB.
            set_field(image, "exif-ifd2-ColorSpace", "1")
    iptc = None
    if metadata.iptc and format_ == "JPEG":  # libvips 8.18 writes a quarter of it into a TIFF.
        size = struct.pack(">I", len(metadata.iptc))
        iptc = PHOTOSHOP + IPTC_RESOURCE + size + metadata.iptc + b"\0" * (len(metadata.iptc) % 2)
    for name, data in (("icc-profile", metadata.icc), ("xmp", metadata.xmp), ("iptc", iptc)):
        if data:
            set_field(image, f"{name}-data", data)
    set_field(image, "orientation", 1)
    x, y = metadata.dpi or (72.0, 72.0)
    return image.copy(xres=x / 25.4, yres=y / 25.4)


def append_tags(path: Path, metadata: Metadata, size: Size) -> None:
    """Add EXIF, IPTC and the comment to the tags of a TIFF, which libvips does not write."""
    tags = {tag: x for tag, x in read_exif(metadata.exif).items() if tag in EXIF_TAGS}
    for tag, pixels in ((Tag.PIXEL_HEIGHT, size[0]), (Tag.PIXEL_WIDTH, size[1])):
        if tag in tags.get(Tag.EXIF, {}):
            tags[Tag.EXIF][tag] = Value(4, 1, struct.pack("<I", pixels))
    if "comment" in metadata.texts and Tag.DESCRIPTION not in tags:
        text = metadata.texts["comment"].encode() + b"\0"
        tags[Tag.DESCRIPTION] = Value(2, len(text), text)
    if metadata.iptc:
        tags[Tag.IPTC] = Value(7, len(metadata.iptc), metadata.iptc)
    if tags:
        append_directory(path, tags)
