"""The directories of TIFF files and EXIF blocks, which share one structure.

libvips keeps the EXIF of JPEG, PNG, WebP and AVIF, but not that of a TIFF, which stores the tags in
its own directories. This module copies the tags between a TIFF and an EXIF block. Values are copied
as bytes, so that nothing is decoded or changed.

Reference: TIFF 6.0, Section 2; EXIF 2.32 (CIPA DC-008), Section 4.6.
"""

import enum
import io
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hyperfunc.images.libvips import File


class Tag(enum.IntEnum):
    """The tags that this package uses."""

    BITS_PER_SAMPLE = 258
    PHOTOMETRIC = 262
    DESCRIPTION = 270
    ORIENTATION = 274
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    RESOLUTION_UNIT = 296
    EXTRA_SAMPLES = 338
    IPTC = 33723
    GEO_KEYS = 34735
    EXIF = 34665
    GPS = 34853
    COLOUR_SPACE = 40961
    PIXEL_WIDTH = 40962
    PIXEL_HEIGHT = 40963
    INTEROP = 40965


CHILDREN = {Tag.EXIF: {Tag.INTEROP: {}}, Tag.GPS: {}}
"""The directories that are read below the first one, by the tags that point to them."""

WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
WIDTHS |= {16: 8, 17: 8, 18: 8}
"""Bytes of one element, by the type of a tag."""


class Value(NamedTuple):
    """The value of a tag: its type, the number of elements, and their little-endian bytes."""

    kind: int
    count: int
    data: bytes


Directory = dict[int, Any]
"""A `Value` for each tag; another directory for those in `CHILDREN`."""


class Layout(NamedTuple):
    """The byte order, and formats of `struct` for the number of rows, a row, and an offset."""

    order: str
    count: str = "H"
    row: str = "HHI4s"
    offset: str = "I"

    def unpack(self, format_: str, data: bytes, start: int = 0) -> int:
        """Read a number."""
        return struct.unpack_from(self.order + format_, data, start)[0]


def read_directory(file: File, *, max_bytes: int = 2**20) -> Directory:
    """Read the first directory of a TIFF or an EXIF block, and the EXIF and GPS directories in it.

    Larger values than ``max_bytes`` are left out. A ValueError says that there is none.
    """
    try:
        layout, start = _read_start(file)
        return _read_at(file, start, layout, CHILDREN, max_bytes)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"its directory of tags is damaged ({error})") from error


def get_int(directory: Directory, tag: int, default: int) -> int:
    """Return the first element of an integer tag, or ``default`` if there is none."""
    value = directory.get(tag)
    if not isinstance(value, Value) or value.kind not in (1, 3, 4):
        return default
    return int.from_bytes(value.data[: WIDTHS[value.kind]], "little")


def get_rational(directory: Directory, tag: int) -> float:
    """Return a tag of one positive fraction, or 0 if there is none."""
    value = directory.get(tag)
    if not isinstance(value, Value) or value.kind != 5:
        return 0.0
    numerator, denominator = struct.unpack_from("<II", value.data)
    return numerator / denominator if denominator else 0.0


def pack_exif(directory: Directory) -> bytes:
    """Build an EXIF block, without the prefix "Exif"."""
    start = struct.pack("<2sHI", b"II", 42, 8)
    return start + _pack(directory, len(start), Layout("<"))


def append_directory(path: Path, additions: Directory) -> None:
    """Add tags to a little-endian TIFF: a new first directory at its end replaces the old one."""
    with path.open("r+b") as file:
        layout, _ = _read_start(file)
        own = read_directory(file, max_bytes=2**40)
        start = file.seek(0, io.SEEK_END)
        start += file.write(b"\0" * (start % 2))
        file.write(_pack({**own, **additions}, start, layout))
        file.seek(8 if layout.offset == "Q" else 4)
        file.write(struct.pack("<" + layout.offset, start))


def _read_start(file: File) -> tuple[Layout, int]:
    """Read the layout of a file, and where its first directory is."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        raise ValueError("it has no directory of tags")
    if Layout(order).unpack("H", head, 2) == 43:
        return (layout := Layout(order, "Q", "HHQ8s", "Q")), layout.unpack("Q", head, 8)
    return (layout := Layout(order)), layout.unpack("I", head, 4)


def _read_at(file: File, start: int, layout: Layout, children: dict, max_bytes: int) -> Directory:
    file.seek(start)
    number = layout.unpack(layout.count, file.read(struct.calcsize("<" + layout.count)))
    row = struct.Struct(layout.order + layout.row)
    rows = file.read(min(number, 2000) * row.size)  # A larger number is a sign of damage.
    directory: Directory = {}
    for tag, kind, count, field in row.iter_unpack(rows[: len(rows) // row.size * row.size]):
        size = WIDTHS.get(kind, 0) * count
        # Of a tag that is repeated, as tifffile does with descriptions, the first counts.
        if not 0 < size <= max_bytes or tag in directory:
            continue
        place = layout.unpack(layout.offset, field)
        if tag in children:
            try:
                directory[tag] = _read_at(file, place, layout, children[tag], max_bytes)
            except (struct.error, OverflowError):
                continue  # A damaged directory does not spoil the others.
            continue
        if size > len(field):
            file.seek(place)
        data = file.read(size) if size > len(field) else field[:size]
        if len(data) == size:
            width = 4 if kind in (5, 10) else WIDTHS[kind]  # Fractions: two integers.
            swapped = np.frombuffer(data, f"{layout.order}u{width}").astype(f"<u{width}")
            directory[tag] = Value(kind, count, swapped.tobytes())
    return directory


def _pack(directory: Directory, start: int, layout: Layout) -> bytes:
    """Build a little-endian directory that is stored at ``start``, and the values behind it."""
    row, offset = struct.Struct("<" + layout.row), struct.Struct("<" + layout.offset)
    table = struct.pack("<" + layout.count, len(directory))
    behind = start + len(table) + len(directory) * row.size + offset.size
    values = b""
    for tag, value in sorted(directory.items()):
        place = behind + len(values)
        if isinstance(value, dict):
            values += _pack(value, place, layout)
            value = Value(18 if layout.offset == "Q" else 4, 1, offset.pack(place))
        elif len(value.data) > offset.size:
            values += value.data + b"\0" * (len(value.data) % 2)
            value = value._replace(data=offset.pack(place))
        table += row.pack(tag, *value)
    return table + offset.pack(0) + values
