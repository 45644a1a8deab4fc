"""What image files say besides their pixels: EXIF, ICC profile, XMP, resolution, texts.

Read from any format into one form, and put into the arguments of Pillow's ``save``.
"""

import contextlib
import dataclasses
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from hyperfunc.images import deep
from hyperfunc.types import Size

ORIENTATION = ExifTags.Base.Orientation
EXIF, GPS, INTEROP = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop

STRUCTURE = {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282}
STRUCTURE |= {283, 284, 290, 291, 292, 293, 296, 297, 317, 318, 319, 320, 321, 322, 323, 324, 325}
STRUCTURE |= {330, 332, 338, 339, 340, 341, 347, 513, 514, 519, 529, 530, 531, 532, 700, 33723}
STRUCTURE |= {34377, 34675, 37724}
"""TIFF's tags of how pixels are stored, and those that are kept in another way."""


IPTC, IPTC_RESOURCE = 33723, 0x0404
"""Where IPTC is kept: a tag of TIFF's, and a resource of Photoshop's in JPEGs."""

COLOUR_CHUNKS = {
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"cICP": bytes([1, 13, 0, 1]),
}
"""PNG's chunks of the colour space besides the ICC profile, and what they hold of sRGB."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a file says besides its pixels. None and empty: it says nothing.

    Attributes:
        exif: camera, time and place, as an EXIF block ("Exif" and two zeros first), without the
            orientation.
        icc: the colour profile that the pixels are in.
        xmp: an XMP packet.
        dpi: (x, y) pixels per inch.
        texts: texts by keyword (PNG), and "comment" (JPEG).
        colour: PNG's chunks that say what its colours are, where that is not sRGB.
        has_iptc: whether there is IPTC, which is not kept.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    colour: dict[bytes, bytes] = dataclasses.field(default_factory=dict)
    has_iptc: bool = False


def read_metadata(path: Path, format_: str, info: dict[Any, Any]) -> tuple[Metadata, int]:
    """Read all but the texts.

    Args:
        path: the file.
        format_: as Pillow calls it.
        info: what Pillow says of it.

    Returns:
        The metadata, and the orientation (1 to 8 as EXIF counts).
    """
    with _open_exif(path, format_, info) as exif:
        orientation = exif.get(ORIENTATION, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        metadata = Metadata(
            exif=_pack_exif(exif),
            icc=info.get("icc_profile") or _as_bytes(exif.get(34675)),
            xmp=read_xmp(info) or _drop_orientation(_as_bytes(exif.get(700))),
            dpi=_to_dpi(info, exif, orientation >= 5),
            colour=_read_colour(path, info) if format_ == "PNG" else {},
            has_iptc=IPTC_RESOURCE in (info.get("photoshop") or {}) or IPTC in exif,
        )
    return metadata, orientation


@contextlib.contextmanager
def _open_exif(path: Path, format_: str, info: dict[Any, Any]) -> Iterator[Image.Exif]:
    """A file's EXIF block, or the tags of a TIFF; empty if there is none or it is damaged."""
    exif = Image.Exif()
    with path.open("rb") as file:
        with contextlib.suppress(Exception):
            if format_ == "TIFF":
                exif.load_from_fp(file)
            elif format_ == "PNG":  # where Pillow would decode the image to find it
                raw = info.get("Raw profile type exif")  # as ImageMagick writes it
                raw = bytes.fromhex("".join(raw.split("\n")[3:])) if raw else b""
                chunk = deep.read_png_chunks(path, b"eXIf").get(b"eXIf")
                exif.load(info.get("exif") or chunk or raw)
            else:
                exif.load(info.get("exif") or b"")
        yield exif


def _read_colour(path: Path, info: dict[Any, Any]) -> dict[bytes, bytes]:
    """Of gAMA, cHRM and cICP those that count and do not say what is assumed anyway."""
    found = deep.read_png_chunks(path, *COLOUR_CHUNKS)
    if "icc_profile" in info or "srgb" in info:  # which go before, but not before cICP
        found = {name: data for name, data in found.items() if name == b"cICP"}
    return {name: data for name, data in found.items() if not _says_srgb(name, data)}


def _says_srgb(name: bytes, data: bytes) -> bool:
    usual, tolerance = COLOUR_CHUNKS[name], 0 if name == b"cICP" else 100  # of 100,000
    if len(data) != len(usual):
        return False
    numbers, wanted = (np.frombuffer(each, ">u4").astype(np.int64) for each in (data, usual))
    return bool(np.abs(numbers - wanted).max() <= tolerance)


def _as_bytes(value: Any) -> bytes | None:
    if isinstance(value, str):
        value = value.encode()
    return bytes(value) if isinstance(value, bytes | bytearray) and value else None


def read_xmp(info: dict[Any, Any]) -> bytes | None:
    """The XMP packet in what Pillow says of a file, which is upright by now."""
    return _drop_orientation(_as_bytes(info.get("xmp")))


def _drop_orientation(xmp: bytes | None) -> bytes | None:
    """Remove the orientation from an XMP packet, since it has been applied."""
    if xmp is None:
        return None
    for pattern in (
        rb"""tiff:Orientation=["'][0-9]["']""",
        rb"<tiff:Orientation>[0-9]</tiff:Orientation>",
    ):
        xmp = re.sub(pattern, b"", xmp)
    return xmp


def _to_dpi(info: dict[Any, Any], exif: Image.Exif, is_turned: bool) -> tuple[float, float] | None:
    try:
        unit = {2: 1.0, 3: 2.54}[exif.get(296, 2)]
        dpi = info.get("dpi") or (exif[282] * unit, exif[283] * unit)
        x, y = (float(value) for value in dpi)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0 < x < 1e6 and 0 < y < 1e6):
        return None
    return (y, x) if is_turned else (x, y)


def _pack_exif(exif: Image.Exif) -> bytes | None:
    """An EXIF block with all but what says how pixels are stored; None if nothing is left."""
    try:
        entries = {tag: value for tag, value in exif.items() if tag not in (EXIF, GPS)}
        return _pack({t: v for t, v in entries.items() if t not in STRUCTURE}, _directories(exif))
    except Exception:  # A block that is damaged in any way is no reason not to read the pixels.
        return None


def load_exif(block: bytes) -> tuple[dict[int, Any], dict[int, dict[int, Any]]]:
    """The texts and numbers of an EXIF block, and its directories (EXIF and GPS)."""
    exif = Image.Exif()
    exif.load(block)
    return {t: v for t, v in exif.items() if t not in (EXIF, GPS)}, _directories(exif)


def resize_exif(block: bytes | None, size: Size) -> bytes | None:
    """An EXIF block whose pixel dimensions are those of the image that it goes with."""
    if block is None:
        return None
    entries, directories = load_exif(block)
    for tag, pixels in ((0xA002, size[1]), (0xA003, size[0])):
        if tag in directories.get(EXIF, {}):
            directories[EXIF][tag] = pixels
    return _pack(entries, directories)


def _note_resolution(block: bytes | None, dpi: tuple[float, float]) -> bytes | None:
    """An EXIF block that says the resolution, too."""
    entries, directories = load_exif(block) if block else ({}, {})
    x, y = (TiffImagePlugin.IFDRational(round(value * 1000), 1000) for value in dpi)
    return _pack({**entries, 282: x, 283: y, 296: 2}, directories)


def _directories(exif: Image.Exif) -> dict[int, dict[int, Any]]:
    directories = {int(tag): dict(exif.get_ifd(tag)) for tag in (EXIF, GPS)}
    if INTEROP in directories[EXIF]:
        directories[EXIF][INTEROP] = dict(exif.get_ifd(INTEROP))
    return {tag: entries for tag, entries in directories.items() if entries}


def _pack(entries: dict[int, Any], directories: dict[int, dict[int, Any]]) -> bytes | None:
    exif = Image.Exif()
    exif.update(keep_letters(entries))
    exif.update({tag: keep_letters(directory) for tag, directory in directories.items()})
    return exif.tobytes() if len(exif) else None


def keep_letters(entries: dict[int, Any]) -> dict[int, Any]:
    """Give back as bytes the texts that Pillow would write as ASCII with question marks.

    It reads bytes as Latin-1, whatever they are (mostly UTF-8).
    """
    return {
        tag: value.encode("latin-1", "replace")
        if isinstance(value, str) and not value.isascii()
        else value
        for tag, value in entries.items()
    }


def read_texts(image: Image.Image) -> dict[str, str]:
    """The texts of an image that has been decoded (of PNG, some stand behind the pixels)."""
    texts = dict(getattr(image, "text", {}))
    if isinstance(image.info.get("comment"), bytes):
        texts["comment"] = image.info["comment"].decode("utf-8", "replace")
    skipped = ("XML:com.adobe.xmp", "Raw profile type")
    return {key: str(value) for key, value in texts.items() if not key.startswith(skipped)}


def note_losses(
    format_: str, metadata: Metadata, notes: list[str], *, keeps: Sequence[str]
) -> None:
    """Say what a format has no place for, but for the texts that it ``keeps``."""
    if metadata.colour and format_ != "PNG":
        names = ", ".join(name.decode() for name in metadata.colour)
        notes.append(f"{names} dropped, which only PNG has: colours may look different")
    if texts := sorted(set(metadata.texts) - set(keeps)):
        notes.append(f"texts dropped: {', '.join(texts)[:200]}")
    if metadata.has_iptc:
        notes.append("IPTC dropped")


def save_arguments(
    format_: str, metadata: Metadata, exif: bytes | None, notes: list[str]
) -> dict[str, Any]:
    """The metadata as Pillow's ``save`` wants it for a format."""
    arguments: dict[str, Any] = {
        "exif": exif,
        "icc_profile": metadata.icc,
        "xmp": metadata.xmp,
        "dpi": metadata.dpi,
    }
    if format_ == "PNG":
        chunks = PngImagePlugin.PngInfo()
        for name, data in metadata.colour.items():
            chunks.add(name, data)
        for key, text in metadata.texts.items():
            chunks.add_itxt(key[:79], text)
        if metadata.xmp:
            chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
        arguments = {**arguments, "xmp": None, "pnginfo": chunks}
    keeps = {"PNG": tuple(metadata.texts), "JPEG": ("comment",)}.get(format_, ())
    note_losses(format_, metadata, notes, keeps=keeps)
    if format_ == "JPEG":
        arguments["comment"] = metadata.texts.get("comment", "").encode()[:65000] or None
        for key, limit in (("exif", 65533), ("xmp", 65504)):
            if arguments[key] and len(arguments[key]) > limit:
                notes.append(f"{key.upper()} dropped: {len(arguments[key])} bytes exceed JPEG's")
                arguments[key] = None
    if format_ == "WEBP" and metadata.dpi:  # which has no place for it but EXIF
        arguments["exif"] = _note_resolution(exif, metadata.dpi)
    return {key: value for key, value in arguments.items() if value is not None}
