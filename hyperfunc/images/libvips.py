"""libvips: its settings, and images in and out of open files.

It is loaded when the first file is read or written, because that takes a moment.
"""

import contextlib
import functools
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.types import HostPixels

if TYPE_CHECKING:
    import pyvips

File = io.BufferedIOBase
"""An open binary file, or bytes in memory."""

LOADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "AVIF": ("heifload_source", {}),
    "GIF": ("gifload_source", {}),
    "JPEG": ("jpegload_source", {}),
    "PNG": ("pngload_source", {}),
    # By default libvips refuses strips of more than 50 MB: some programs write only one.
    "TIFF": ("tiffload_source", {"unlimited": True}),
    "WebP": ("webpload_source", {}),
}
"""Loaders and their options by format. libvips does not choose the loader: it has others, such as
SVG's, that are not meant for untrusted files."""

INTERPRETATIONS = {
    np.uint8: ("b-w", "srgb"),
    np.uint16: ("grey16", "rgb16"),
    np.float32: ("b-w", "scrgb"),
}
"""libvips' names for grey and RGB, by the type of the pixels."""

DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
"""Types of pixels by libvips' names for them."""


@functools.cache
def load() -> Any:
    """Import and set up the module `pyvips`.

    Raises:
        UserError: it cannot be loaded.
    """
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
def open_source(file: File, format_: str) -> "Iterator[pyvips.Image]":
    """Open an image of one of `LOADERS`, which is decoded while it is used, once.

    libvips reads through Python's file. Given a path, it would map the file into memory, and the
    process would crash if another program shortened the file meanwhile.

    Raises:
        ValueError: the file is damaged.
        OSError: the file cannot be read.
    """
    failures: list[BaseException] = []
    source = load().SourceCustom()
    source.on_read(_collecting(failures, file.read, None))
    source.on_seek(_collecting(failures, file.seek, -1))
    file.seek(0)
    loader, options = LOADERS[format_]
    with reporting(failures):
        # By default libvips fills what is missing from a damaged file with grey.
        yield getattr(load().Image, loader)(source, access="sequential", fail_on="error", **options)


def save_target(
    image: "pyvips.Image",
    file: File,
    saver: str,
    *,
    insertion: tuple[int, bytes] = (0, b""),
    **options: Any,
) -> None:
    """Encode an image into an open file, which has to be readable and seekable for TIFF.

    Args:
        image: the image.
        file: the file.
        saver: the function of libvips.
        insertion: bytes that libvips does not write, and how many of its bytes precede them.
        options: for the saver.

    Raises:
        ValueError: the format cannot hold the image.
        OSError: the file cannot be written.
    """
    failures: list[BaseException] = []
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
    target.on_write(_collecting(failures, write, -1))
    target.on_read(_collecting(failures, file.read, None))
    target.on_seek(_collecting(failures, file.seek, -1))
    with reporting(failures):
        getattr(image, saver)(target, **options)


def _collecting(
    failures: list[BaseException], call: Callable[..., Any], result: Any
) -> Callable[..., Any]:
    """Make a callback that collects its exceptions for `reporting`: none can pass through C."""

    def callback(*args: Any) -> Any:
        try:
            return call(*args)
        except BaseException as error:  # Also Ctrl-C.
            failures.append(error)
            return result

    return callback


@contextlib.contextmanager
def reporting(failures: Sequence[BaseException] = ()) -> Iterator[None]:
    """Raise the first of the failures, or an error of libvips as a ValueError of one line."""
    try:
        yield
        if failures:
            raise failures[0]
    except load().Error as error:
        if failures:
            raise failures[0] from error
        lines = dict.fromkeys(line.strip() for line in str(error.detail).splitlines())
        reasons = [line for line in lines if line and "bad seek" not in line]
        raise ValueError("; ".join(reasons[:3]) or "its data is damaged") from error


def from_array(pixels: HostPixels, interpretation: str | None = None) -> "pyvips.Image":
    """Wrap an array of 1 to 4 channels without a copy; its memory is shared."""
    usual = INTERPRETATIONS[pixels.dtype.type][pixels.shape[2] >= 3]
    image = load().Image.new_from_array(np.ascontiguousarray(pixels))
    return image.copy(interpretation=interpretation or usual)


def to_array(image: "pyvips.Image") -> HostPixels:
    """Decode an image of one of `DTYPES`; `[h, w, c]`. Wrap the call in `reporting`."""
    data = np.frombuffer(image.write_to_memory(), DTYPES[str(image.format)])
    return data.reshape(image.height, image.width, image.bands)


def get_field(image: "pyvips.Image", name: str, default: Any = None) -> Any:
    """Return a field of an image's metadata, or ``default`` if it is missing."""
    return image.get(name) if image.get_typeof(name) else default


def set_field(image: "pyvips.Image", name: str, value: Any) -> None:
    """Set a field of an image's metadata: an integer, a list of integers, a string, or bytes."""
    types = load().GValue
    kinds = {int: types.gint_type, list: types.array_int_type}
    kinds |= {str: types.gstr_type, bytes: types.blob_type}
    image.set_type(kinds[type(value)], name, value)
