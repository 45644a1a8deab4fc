"""libvips: its formats and settings, and images in and out of open files.

It is loaded when the first file is read or written, because that takes a moment.
"""

import contextlib
import functools
import io
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.types import HostPixels

if TYPE_CHECKING:
    import pyvips

File = io.BufferedIOBase
"""An open binary file, or bytes in memory."""


class Codec(NamedTuple):
    """How files of one format are named, recognised, read and written."""

    suffixes: tuple[str, ...]
    start: bytes
    """A pattern of their first bytes. libvips could choose the loader, but it has others, such as
    SVG's, that are not meant for untrusted files."""
    prefix: str
    """Of libvips' functions."""
    max_side: int = 0
    """Pixels along one side that can be written, at most; 0 if libvips only reads the format."""
    max_bits: int = 0
    """Bits per channel that can be written, at most; 32 stand for floats."""


CODECS = {
    "AVIF": Codec((".avif",), rb"(?s)....ftyp.{0,48}avi[fs]", "heif", 16384, 12),
    "GIF": Codec((".gif",), rb"GIF8", "gif"),
    "JPEG": Codec((".jpeg", ".jpg"), rb"\xff\xd8\xff", "jpeg", 65500, 8),
    "PNG": Codec((".png",), rb"\x89PNG\r\n\x1a\n", "png", 2**31 - 1, 16),
    "TIFF": Codec((".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]", "tiff", 2**32 - 1, 32),
    "WebP": Codec((".webp",), rb"(?s)RIFF....WEBP", "webp", 16383, 8),
}
"""The formats that libvips reads and writes, by name."""

DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
"""Types of pixels by libvips' names for them."""


@functools.cache
def load() -> Any:
    """Import and set up the module `pyvips`."""
    # What libvips warns of is either raised as an error as well, or harmless.
    logging.getLogger("pyvips").setLevel(logging.ERROR)
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise UserError(
            f"libvips cannot be loaded ({error}); install it: pip install 'pyvips[binary]'"
        ) from error
    pyvips.cache_set_max(0)  # Otherwise a file that has changed would not be read again.
    return pyvips


@contextlib.contextmanager
def reporting() -> Iterator[Callable[..., Any]]:
    """Raise an error of libvips as a ValueError of one line.

    Yield ``guard(call, result)``, which makes a callback for libvips. No exception can pass through
    C: where ``call`` raises, it returns ``result``, and the first exception is raised at the end.
    """
    failures: list[BaseException] = []

    def guard(call: Callable[..., Any], result: Any) -> Callable[..., Any]:
        def callback(*args: Any) -> Any:
            try:
                return call(*args)
            except BaseException as error:  # Also Ctrl-C.
                failures.append(error)
                return result

        return callback

    try:
        yield guard
        if failures:
            raise failures[0]
    except load().Error as error:
        if failures:
            raise failures[0] from error
        lines = dict.fromkeys(line.strip() for line in str(error.detail).splitlines())
        reasons = [line for line in lines if line and "bad seek" not in line]
        raise ValueError("; ".join(reasons[:3]) or "its data is damaged") from error


@contextlib.contextmanager
def open_source(file: File, format_: str) -> "Iterator[pyvips.Image]":
    """Open an image of one of `CODECS`, which is decoded while it is used, once.

    libvips reads through Python's file. Given a path, it would map the file into memory, and the
    process would crash if another program shortened the file meanwhile.
    """
    file.seek(0)
    source = load().SourceCustom()
    with reporting() as guard:
        source.on_read(guard(file.read, None))
        source.on_seek(guard(file.seek, -1))
        open_ = getattr(load().Image, f"{CODECS[format_].prefix}load_source")
        # By default libvips refuses strips of a TIFF of more than 50 MB: some programs write only
        # one. It fills what is missing from a damaged file with grey.
        options = {"unlimited": True} if format_ == "TIFF" else {}
        yield open_(source, access="sequential", fail_on="error", **options)


def save_target(
    image: "pyvips.Image",
    file: File,
    format_: str,
    *,
    insertion: tuple[int, bytes] = (0, b""),
    **options: Any,
) -> None:
    """Encode an image into an open file, which has to be readable and seekable for TIFF.

    An insertion (n, bytes) comes after the first n bytes that libvips writes, with its ``options``.
    """
    place, inserted = insertion

    def write(data: Any) -> int:
        nonlocal place, inserted
        if inserted and len(data) >= place:
            file.write(bytes(data[:place]) + inserted + bytes(data[place:]))
            inserted = b""
        else:
            file.write(data)
            place -= len(data)
        return len(data)

    target = load().TargetCustom()
    with reporting() as guard:
        target.on_write(guard(write, -1))
        target.on_read(guard(file.read, None))
        target.on_seek(guard(file.seek, -1))
        getattr(image, f"{CODECS[format_].prefix}save_target")(target, **options)


def from_array(pixels: HostPixels, interpretation: str = "auto") -> "pyvips.Image":
    """Wrap an array of 1 to 4 channels without a copy; its memory is shared."""
    array = np.ascontiguousarray(pixels)
    return load().Image.new_from_array(array, interpretation=interpretation)


def to_array(image: "pyvips.Image") -> HostPixels:
    """Decode an image of one of `DTYPES`; `[h, w, c]`. Wrap the call in `reporting`."""
    return image.numpy().reshape(image.height, image.width, image.bands)


def get_field(image: "pyvips.Image", name: str, default: Any = None) -> Any:
    """Return a field of an image's metadata, or ``default`` if it is missing."""
    return image.get(name) if image.get_typeof(name) else default


def set_field(image: "pyvips.Image", name: str, value: Any) -> None:
    """Set a field of an image's metadata: an integer, a list of integers, a string, or bytes."""
    types = load().GValue
    kinds = {int: types.gint_type, list: types.array_int_type}
    kinds |= {str: types.gstr_type, bytes: types.blob_type}
    image.set_type(kinds[type(value)], name, value)
