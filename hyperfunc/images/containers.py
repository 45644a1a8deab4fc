"""Metadata in PNG and JPEG files that libvips does not pass on.

Of a PNG, libvips reads no chunk after the pixels, where many programs put texts, XMP and EXIF; it
takes texts in Latin-1 for UTF-8, and writes texts in UTF-8 where Latin-1 belongs. It keeps no
chunk of the colour space but the ICC profile. Of a JPEG, it drops the comment and does not tell the
quantisation.

Reference: PNG specification, third edition (W3C 2025), Sections 5.3 and 11.3; JPEG, ITU T.81,
Annex B.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping

from hyperfunc.images.libvips import File

MAX_CHUNK_BYTES = 2**24
"""Larger chunks are left out, and so are texts that become larger when they are decompressed."""

TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")

QUANTISATION, COMMENT, START_OF_SCAN, APP2 = 0xDB, 0xFE, 0xDA, 0xE2
"""Markers of JPEG segments."""

LUMA_STEPS_AT_50 = 3688
"""Sum of the luma's quantisation steps at quality 50 (ITU T.81, Table K.1, as libjpeg rounds)."""


def read_chunks(file: File) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the data, empty if too large, of each chunk of a PNG but the pixels."""
    file.seek(8)  # After the signature.
    while len(start := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        if name == b"IDAT":
            file.seek(length + 4, 1)
        elif length > MAX_CHUNK_BYTES:
            yield name, b""
            file.seek(length + 4, 1)
        else:
            yield name, file.read(length)
            file.seek(4, 1)


def make_chunk(name: bytes, data: bytes) -> bytes:
    """Build a chunk of a PNG: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def parse_text(name: bytes, data: bytes) -> tuple[str, str] | None:
    """Return the keyword and the text of a chunk of a PNG; None if it is damaged or too large."""
    keyword, _, text = data.partition(b"\0")
    try:
        if name == b"zTXt":
            text = _inflate(text[1:])
        elif name == b"iTXt":
            is_compressed, (_, _, text) = text[:1] == b"\1", text[2:].split(b"\0", 2)
            text = _inflate(text) if is_compressed else text
    except (ValueError, zlib.error):
        return None
    if not keyword:
        return None
    encoding = "utf-8" if name == b"iTXt" else "latin-1"
    return keyword.decode("latin-1"), text.decode(encoding, "replace")


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    result = inflater.decompress(data, MAX_CHUNK_BYTES)
    if not inflater.eof:
        raise ValueError("the text is truncated, or too large")
    return result


def read_segments(file: File) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the data of each segment of a JPEG before the pixels."""
    file.seek(2)
    while len(start := file.read(4)) == 4 and start[0] == 0xFF and start[1] != START_OF_SCAN:
        if start[1] == 0xFF:  # A fill byte.
            file.seek(-3, 1)
        else:
            yield start[1], file.read(int.from_bytes(start[2:], "big") - 2)


def has_second_picture(file: File) -> bool:
    """Whether a JPEG holds further pictures: a gain map, a preview, the other eye's view.

    Reference: CIPA DC-007, "Multi-Picture Format", Section 5.1.
    """
    return any(x == APP2 and data[:4] == b"MPF\0" for x, data in read_segments(file))


def estimate_quality(file: File) -> int | None:
    """Estimate at which quality, 1 to 100, libjpeg would quantise the luma about the same.

    Reference: libjpeg 6b, jcparam.c, jpeg_quality_scaling.
    """
    data = b"".join(data for marker, data in read_segments(file) if marker == QUANTISATION)
    while data:
        is_wide, number = divmod(data[0], 16)
        steps, data = data[1 : 65 + 64 * is_wide], data[65 + 64 * is_wide :]
        total = sum(steps[::2]) * 256 + sum(steps[1::2]) if is_wide else sum(steps)
        if number == 0 and total:
            percent = 100 * total / LUMA_STEPS_AT_50
            return max(round(100 - percent / 2 if percent <= 100 else 5000 / percent), 1)
    return None


def make_insertion(
    format_: str, texts: Mapping[str, str], chunks: Mapping[bytes, bytes]
) -> tuple[int, bytes]:
    """Build what has to be inserted into a PNG or a JPEG that libvips writes, and say where."""
    if format_ == "PNG":
        parts = [make_chunk(name, data) for name, data in chunks.items()]
        for keyword, text in texts.items():
            start = keyword.encode("latin-1", "replace")[:79] + b"\0" * 5
            parts.append(make_chunk(b"iTXt", start + text.encode()))
        return 33, b"".join(parts)  # After the signature and IHDR.
    if format_ == "JPEG" and "comment" in texts:
        comment = texts["comment"].encode()[:65000]  # A segment holds little more.
        return 2, struct.pack(">BBH", 0xFF, COMMENT, len(comment) + 2) + comment
    return 0, b""
