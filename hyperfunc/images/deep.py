"""PNG, TIFF and PPM with more than 8 bits per channel, which Pillow reads and writes only in part.

Arrays are `[h, w, c]`, uint8 (0..255), uint16 (0..65535) or float32, with 1 to 4 channels: grey,
grey + alpha, RGB, RGBA; alpha is straight. TIFF is read upright, as Pillow does it.

Files come from strangers: functions that read may raise any exception on damaged data, and their
caller turns it into a message.
"""

import contextlib
import io
import logging
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import tifffile
from jaxtyping import Float32, UInt8, UInt16
from PIL import Image, TiffImagePlugin

Source = Path | io.BytesIO | io.BufferedReader
"""A file, or an open one, which is read from its start."""

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # What matters is raised as well.

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour type by number of channels."""

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
PPM_HEADER = re.compile(_GAP.join([rb"P6", rb"(\d{1,9})", rb"(\d{1,9})", rb"(\d{1,5})\s"]))
"""Width, height and the largest value of a binary PPM."""

COLOURS = {0: 1, 1: 1, 2: 3}
"""Channels by TIFF's photometric interpretation: white is zero, black is zero, RGB."""

LOW_BYTES = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}
"""Pillow's raw mode "RGB;16B" keeps the high byte of big-endian samples, "RGB;16L" that of
little-endian ones: the other's high byte is one's low byte. "N" is the machine's own order."""


def _read_bytes(source: Source, count: int, offset: int = 0) -> bytes:
    if isinstance(source, Path):
        with source.open("rb") as file:
            return _read_bytes(file, count, offset)
    source.seek(offset)
    return source.read(count)


def _length(source: Source) -> int:
    return source.stat().st_size if isinstance(source, Path) else source.seek(0, io.SEEK_END)


def read_png_header(source: Source) -> tuple[int, int] | None:
    """Bits per channel and colour type of a PNG; None if the file is none."""
    start = _read_bytes(source, 26)
    is_png = len(start) == 26 and start.startswith(PNG_SIGNATURE) and start[12:16] == b"IHDR"
    return (start[24], start[25]) if is_png else None


def is_deep_png(source: Source) -> bool:
    """Whether a file is a PNG of 16 bits per channel, of which Pillow keeps 8 if it has colours."""
    return (read_png_header(source) or (8, 0))[0] == 16


def read_png_chunks(path: Path, *names: bytes) -> dict[bytes, bytes]:
    """The last chunk of each name in a PNG, before the pixels or behind them, if there is one."""
    found = {}
    with path.open("rb") as file:
        file.seek(len(PNG_SIGNATURE))
        while len(start := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", start)
            if name in names:
                found[name] = file.read(length)
                length = 0
            file.seek(length + 4, 1)
    return found


def has_unnamed_channel(path: Path) -> bool:
    """Whether what a TIFF's channel after its colours means is not stated; it is not read then."""
    with contextlib.suppress(Exception), tifffile.TiffFile(path) as tiff:
        return tuple(_first_page(tiff).extrasamples)[:1] == (0,)
    return False


def read_samples16(path: Source) -> UInt16[np.ndarray, "h w c"]:
    """Read a file of 16 bits per channel that Pillow would reduce to 8.

    Its decoder drops one byte of each sample, so it runs twice and keeps another byte each time.
    Where it has no such mode (grey + alpha), two channels of 16 bits are read as four of 8.
    """
    with open_image(path) as image:
        mode = image.mode
        if mode.startswith("I;16"):
            return np.asarray(image).astype(np.uint16)[..., None]
        args = cast(Any, image).tile[0].args
    if (args if isinstance(args, str) else args[0]).startswith("LA;"):
        halves = _read_as(path, "RGBA", lambda raw: "RGBA").astype(np.uint16)
        return halves[..., 0::2] << 8 | halves[..., 1::2]
    high = _read_as(path, mode, lambda raw: raw).astype(np.uint16)
    return high << 8 | _read_as(path, mode, lambda raw: raw[:-1] + LOW_BYTES[raw[-1]])


def _read_as(path: Source, mode: str, rename: Callable[[str], str]) -> UInt8[np.ndarray, "h w c"]:
    """Decode a file with other raw modes, set as a plugin of Pillow would set them."""
    with open_image(path) as image:
        plugin = cast(Any, image)
        tiles = []
        for tile in plugin.tile:
            raw, *others = (tile.args,) if isinstance(tile.args, str) else tile.args
            if not raw.startswith(("RGB;16", "RGBA;16", "LA;16")):
                raise ValueError(f"its samples are stored as {raw}")
            tiles.append(tile._replace(args=(rename(raw), *others) if others else rename(raw)))
        plugin.tile, plugin._mode = tiles, mode
        return np.array(image)


@contextlib.contextmanager
def open_image(source: Source) -> Iterator[Image.Image]:
    """Open a file with Pillow, but not by its path.

    Pillow maps a path into memory where it can, by the size after a turn, which is not that of the
    rows in the file: a turned TIFF is scrambled.
    """
    if isinstance(source, Path):
        with source.open("rb") as file, Image.open(file) as image:
            yield image
        return
    source.seek(0)
    with Image.open(source) as image:
        yield image


def write_png16(
    file: BinaryIO, pixels: UInt16[np.ndarray, "h w c"], *, chunks: list[bytes] | None = None
) -> None:
    """Write a PNG of 16 bits per channel.

    Args:
        file: where to.
        pixels: 1 to 4 channels.
        chunks: whole ancillary chunks (metadata), which go before the pixels.

    Reference: PNG specification, third edition (W3C 2025), Sections 9.2 (filters), 12.7 (choice of
    a filter for each row: the smallest sum of absolute differences).
    """
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    file.write(PNG_SIGNATURE + png_chunk(b"IHDR", header) + b"".join(chunks or []))
    compressor = zlib.compressobj(6, strategy=zlib.Z_FILTERED)
    stride = 2 * channels
    above = np.zeros((1, width * stride), np.uint8)
    rows = max(1, (1 << 20) // (width * stride))
    for start in range(0, height, rows):
        strip = pixels[start : start + rows].astype(">u2").view(np.uint8)
        strip = strip.reshape(strip.shape[0], -1)
        up = np.concatenate([above, strip[:-1]])
        above = strip[-1:]
        data = compressor.compress(_filter_rows(strip, up, stride).tobytes())
        if data:
            file.write(png_chunk(b"IDAT", data))
    file.write(png_chunk(b"IDAT", compressor.flush()) + png_chunk(b"IEND", b""))


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_metadata(**save_arguments: Any) -> list[bytes]:
    """The ancillary chunks that Pillow would write for these arguments of its ``save``."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", **save_arguments)
    data, offset, chunks = buffer.getvalue(), len(PNG_SIGNATURE), []
    while offset < len(data):
        end = offset + 12 + struct.unpack_from(">I", data, offset)[0]
        if data[offset + 4 : offset + 8] not in (b"IHDR", b"IDAT", b"IEND"):
            chunks.append(data[offset:end])
        offset = end
    return chunks


def _filter_rows(
    strip: UInt8[np.ndarray, "r n"], up: UInt8[np.ndarray, "r n"], stride: int
) -> UInt8[np.ndarray, "r m"]:
    """Filter each row in the way that leaves the least, and put the filter's number before it."""
    left, corner = (np.pad(rows, ((0, 0), (stride, 0)))[:, :-stride] for rows in (strip, up))
    a, b, c = (rows.astype(np.int16) for rows in (left, up, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    paeth = np.where(
        (to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, corner)
    ).astype(np.uint8)
    average = ((a + b) >> 1).astype(np.uint8)
    candidates = [strip, strip - left, strip - up, strip - average, strip - paeth]
    costs = [np.abs(rows.view(np.int8).astype(np.int16)).sum(axis=1) for rows in candidates]
    best = np.argmin(costs, axis=0)
    chosen = np.stack(candidates)[best, np.arange(len(strip))]
    return np.concatenate([best[:, None].astype(np.uint8), chosen], axis=1)


def read_deep(
    source: Source,
) -> UInt16[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"] | None:
    """Read a TIFF or a PPM of more than 8 bits per channel; None if it is neither.

    Raises:
        ValueError: it cannot be read.
    """
    if is_deep_tiff(source):
        return read_deep_tiff(source)
    return read_deep_ppm(source) if is_deep_ppm(source) else None


def is_deep_ppm(source: Source) -> bool:
    """Whether a file is a binary PPM (RGB) of 16 bits per channel, as raw converters write it."""
    return _read_ppm_header(source)[2] > 255


def read_deep_ppm(source: Source) -> UInt16[np.ndarray, "h w 3"]:
    """Read a binary PPM of 16 bits per channel; its largest value becomes 65535.

    Raises:
        ValueError: it is truncated.
    """
    width, height, largest, start = _read_ppm_header(source)
    if _length(source) - start < 6 * width * height:
        raise ValueError(f"it is truncated: {width} x {height} pixels need more")
    samples = _read_bytes(source, 6 * width * height, start)
    values = np.frombuffer(samples, ">u2").astype(np.uint16)
    if largest != 65535:
        values = np.minimum(values.astype(np.uint32), largest) * 65535 + largest // 2
        values = (values // largest).astype(np.uint16)
    return values.reshape(height, width, 3)


def _read_ppm_header(source: Source) -> tuple[int, int, int, int]:
    """Width, height, largest value and first byte of the pixels; zeros if it is no binary PPM.

    Reference: netpbm's manual, "PPM format".
    """
    match = PPM_HEADER.match(_read_bytes(source, 1024))
    if match is None:
        return 0, 0, 0, 0
    width, height, largest = (int(number) for number in match.groups())
    return width, height, largest, match.end()


def is_deep_tiff(source: Source) -> bool:
    """Whether a file is a grey or RGB TIFF with floats or more than 8 bits per channel."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return is_deep_tiff(file)
    is_tiff = _read_bytes(source, 4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    source.seek(0)
    if not is_tiff:
        return False
    with tifffile.TiffFile(source) as tiff:
        page = _first_page(tiff)
        is_deep = page.sampleformat == 3 or page.bitspersample > 8
        return is_deep and int(page.photometric) in COLOURS


def describe_deep_tiff(path: Path) -> tuple[tuple[int, int], int, np.dtype[Any], int, int]:
    """Upright (height, width), channels, dtype as read, bits per channel and pages of a TIFF."""
    with tifffile.TiffFile(path) as tiff:
        page = _first_page(tiff)
        size = (page.imagelength, page.imagewidth)
        if _orientation(page) >= 5:
            size = (size[1], size[0])
        return size, _channels(page), _dtype(page), page.bitspersample, len(tiff.pages)


def read_deep_tiff(
    source: Source,
) -> UInt16[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"]:
    """Read the first page of a TIFF of more than 8 bits per channel.

    Raises:
        ValueError: samples or a compression that cannot be read.
    """
    if not isinstance(source, Path):
        source.seek(0)
    with tifffile.TiffFile(source) as tiff:
        page = _first_page(tiff)
        channels, dtype, orientation = _channels(page), _dtype(page), _orientation(page)
        try:
            pixels = page.asarray()
        except ValueError as error:
            # Pillow knows more compressions (LZW, which many programs write), for integers.
            if dtype != np.uint16:
                raise ValueError(f"{error}; save it without compression or with Deflate") from None
            pixels, orientation = read_samples16(source), 1  # It is upright already.
        else:
            if page.planarconfig == 2 and pixels.ndim == 3:  # channels one after the other
                pixels = np.moveaxis(pixels, 0, -1)
            pixels = pixels.reshape(*pixels.shape[:2], -1)[..., :channels].astype(dtype)
        if page.photometric == 0:  # white is zero
            pixels[..., 0] = (1 if dtype == np.float32 else 65535) - pixels[..., 0]
        if channels in (2, 4) and page.extrasamples[0] == 1:  # stored multiplied by alpha
            pixels = _divide_by_alpha(pixels)
    return np.ascontiguousarray(turn(pixels, orientation))


def write_tiff(
    path: Path,
    pixels: UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"],
    *,
    dpi: tuple[float, float] | None = None,
    icc: bytes | None = None,
    xmp: bytes | None = None,
    texts: Mapping[int, bytes] | None = None,
    values: Mapping[int, bytes | int] | None = None,
    directories: Mapping[int, Mapping[int, Any]] | None = None,
) -> None:
    """Write a TIFF with Deflate, which every reader knows.

    Args:
        path: where to.
        pixels: uint8, uint16 or float32, 1 to 4 channels.
        dpi: (x, y) pixels per inch.
        icc: colour profile.
        xmp: an XMP packet.
        texts: tags of text, such as 271 (camera make).
        values: tags of bytes or of one number below 65536, such as 18246 (rating).
        directories: the tags of directories of their own: 34665 (EXIF) and 34853 (GPS).
    """
    channels = pixels.shape[2]
    directories = {tag: entries for tag, entries in (directories or {}).items() if entries}
    tags: list[tuple[int, int, int, Any, bool]] = []
    for tag, text in (texts or {}).items():
        tags.append((tag, 2, len(text) + 1, text + b"\0", True))
    for tag, value in (values or {}).items():
        kind, count = (1, len(value)) if isinstance(value, bytes) else (3, 1)
        tags.append((tag, kind, count, value, True))
    if xmp:
        tags.append((700, 1, len(xmp), xmp, True))
    # Where a directory lies is known only when the pixels are written. tifffile refuses these tags,
    # so a free one next to each holds its place.
    tags += [(tag - 1, 4, 1, 0, True) for tag in directories]
    tifffile.imwrite(
        path,
        pixels[..., 0] if channels == 1 else pixels,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=("unassalpha",) if channels in (2, 4) else None,
        compression="zlib",
        predictor=pixels.dtype != np.float32,
        rowsperstrip=64,
        byteorder="<",
        metadata=None,
        software=False,
        iccprofile=icc,
        resolution=dpi,
        resolutionunit="INCH" if dpi else None,
        extratags=tags,
    )
    for tag, entries in directories.items():
        _append_directory(path, tag, entries)


def _append_directory(path: Path, tag: int, entries: Mapping[int, Any]) -> None:
    """Put a directory at the end of a TIFF, and its offset into the tag that waits for it."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    for key, value in entries.items():
        directory[key] = value
    with tifffile.TiffFile(path, mode="r+") as tiff:
        if tiff.is_bigtiff:  # whose directories have another form
            return
        file = tiff.filehandle
        file.seek(0, 2)
        offset = file.tell() + file.tell() % 2
        file.write(b"\0" * (offset - file.tell()) + directory.tobytes(offset))
        file.seek(_first_page(tiff).tags[tag - 1].offset)
        file.write(struct.pack("<HHII", tag, 4, 1, offset))


def _first_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    page = tiff.pages[0]
    assert isinstance(page, tifffile.TiffPage)
    return page


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn upright what was stored with an EXIF orientation."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _orientation(page: tifffile.TiffPage) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None else 1


def _dtype(page: tifffile.TiffPage) -> np.dtype[Any]:
    """What the samples of a page are read as.

    Raises:
        ValueError: none of ours.
    """
    if page.sampleformat == 3:
        return np.dtype(np.float32)
    if page.sampleformat == 1 and page.bitspersample == 16:
        return np.dtype(np.uint16)
    signed = "signed " if page.sampleformat == 2 else ""
    raise ValueError(
        f"its samples are {signed}integers of {page.bitspersample} bits; save it with 8 or 16 bits "
        "or as floats"
    )


def _channels(page: tifffile.TiffPage) -> int:
    """How many channels of a page are read: its colours, and alpha if it has one."""
    has_alpha = bool(page.extrasamples) and page.extrasamples[0] in (1, 2)
    return COLOURS[int(page.photometric)] + has_alpha


def _divide_by_alpha(pixels: np.ndarray) -> np.ndarray:
    """Premultiplied to straight alpha."""
    largest = 1 if pixels.dtype == np.float32 else 65535
    alpha = pixels[..., -1:].astype(np.float32) / largest
    colour = pixels[..., :-1] / np.where(alpha > 0, alpha, 1)
    if largest > 1:
        colour = np.floor(np.clip(colour, 0, largest) + 0.5)
    return np.concatenate([colour.astype(pixels.dtype), pixels[..., -1:]], axis=-1)
