"""Formats that the libvips of the package `pyvips-binary` cannot read.

BMP, JPEG 2000, Netpbm, QOI and TGA are left to Pillow, except PPM of 16 bits, of which Pillow keeps
8; HEIC and JPEG XL too, where a plugin is installed.
Two kinds of TIFF are left to tifffile: floats of 64 bits (libvips 8.18: "samples out of range") and
Lab of 8 bits ("bad labq format").
"""

import contextlib
import importlib.util
import logging
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperfunc.images.exif import Directory, Tag, get_int
from hyperfunc.images.kinds import PLUGINS, START, name_kind, refuse_kind
from hyperfunc.images.libvips import File, from_array, set_field
from hyperfunc.types import HostPixels
from hyperfunc.values import split_alpha

if TYPE_CHECKING:
    import pyvips

READABLE = ("BMP", "JPEG2000", "PPM", "QOI", "TGA")
"""Formats that Pillow reads; "PPM" includes PGM, PBM and PFM."""

READABLE_BY_PLUGIN = ("HEIF", "JXL")
"""Formats that Pillow reads once a plugin is loaded."""

WRITABLE = {".bmp": "BMP", ".jp2": "JPEG2000", ".pgm": "PPM", ".ppm": "PPM", ".tga": "TGA"}
"""Formats that Pillow writes, by the suffix of the path."""

BLOCKS = {"exif": "exif-data", "icc_profile": "icc-profile-data", "xmp": "xmp-data"}
"""Pillow's and libvips' names of metadata."""

PILLOW_SUFFIXES = [*WRITABLE, ".pfm", ".qoi"]
"""Suffixes of the files that Pillow reads."""

for plugin, suffixes in PLUGINS.values():
    if importlib.util.find_spec(plugin):
        PILLOW_SUFFIXES += suffixes

PPM_HEADER = re.compile(
    rb"P6\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,5})\s".replace(rb"\s+", rb"(?:\s|#[^\r\n]*[\r\n])+")
)
"""Width, height and the maximum of a binary PPM, which may have comments between them."""

LAB = 8
"""A value of `Tag.PHOTOMETRIC`."""


def decode(file: File) -> "tuple[str, pyvips.Image]":
    """Read a file of none of libvips' formats, and name its format."""
    from PIL import Image, UnidentifiedImageError

    file.seek(0)
    header = PPM_HEADER.match(file.read(1024))
    if header and int(header.group(3)) > 255:
        return "PPM", _wrap(_decode_ppm(file, header), 16)
    file.seek(0)
    start = file.read(START)
    _load_plugin(start)
    file.seek(0)
    source: Any = file
    formats = [*READABLE, *(x for x in READABLE_BY_PLUGIN if x in Image.OPEN)]
    with _reporting():
        try:
            opened = Image.open(source, formats=formats)
        except UnidentifiedImageError:
            refuse_kind(start)
            raise
        with opened as image:
            pixels, info = _to_pixels(image), image.info
    bits = 1 if image.mode == "1" else info.get("bit_depth", 8 * pixels.dtype.itemsize)  # HEIC's.
    wrapped = _wrap(pixels, bits)
    for name, field in BLOCKS.items():
        if isinstance(block := info.get(name), bytes) and block:
            set_field(wrapped, field, block)
    return image.format or "?", wrapped


@contextlib.contextmanager
def _reporting() -> Iterator[None]:
    """Report whatever a library raises about damaged data as a ValueError of one line."""
    try:
        yield
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"its data is damaged ({type(error).__name__}: {error})") from error


def _load_plugin(start: bytes) -> None:
    """Let Pillow read HEIC or JPEG XL, if this is such a file and the package for it is there."""
    plugin, _ = PLUGINS.get(name_kind(start) or "", ("", ()))
    if plugin and importlib.util.find_spec(plugin):
        module = importlib.import_module(plugin)
        if plugin == "pillow_heif":  # The other one registers itself.
            module.register_heif_opener()


def _to_pixels(image: Any) -> HostPixels:
    if image.mode.startswith("I"):
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)[..., None]
    if image.mode not in ("F", "L", "LA", "RGB", "RGBA"):
        is_clear = "A" in image.mode or "transparency" in image.info
        image = image.convert("L" if image.mode == "1" else "RGBA" if is_clear else "RGB")
    pixels = np.array(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def _decode_ppm(file: File, header: re.Match[bytes]) -> HostPixels:
    """Read a binary PPM of 16 bits; its maximum becomes 65535 (netpbm's manual, "PPM format")."""
    width, height, largest = (int(number) for number in header.groups())
    size = 6 * width * height
    if file.seek(0, 2) - header.end() < size:
        raise ValueError(f"it is truncated: {width} x {height} pixels need more")
    file.seek(header.end())
    values = np.frombuffer(file.read(size), ">u2").astype(np.uint32)
    values = (np.minimum(values, largest) * 65535 + largest // 2) // largest
    return values.astype(np.uint16).reshape(height, width, 3)


def unwrap_pillow(image: Any) -> Any:
    """Turn a PIL image upright and into an array of grey or RGB; return anything else as it is."""
    pillow = sys.modules.get("PIL.Image")  # Imported by whoever made such an image.
    if pillow is None or not isinstance(image, pillow.Image):
        return image
    from PIL import ImageOps

    return split_alpha(_to_pixels(ImageOps.exif_transpose(image)))[0]


def is_rare_tiff(tags: Directory) -> bool:
    """Whether a TIFF has to be read by `decode_rare_tiff`."""
    bits = get_int(tags, Tag.BITS_PER_SAMPLE, 1)
    return bits == 64 or (bits == 8 and get_int(tags, Tag.PHOTOMETRIC, 0) == LAB)


def decode_rare_tiff(file: File, tags: Directory) -> "pyvips.Image":
    """Read a TIFF of 64-bit floats, or of Lab."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # What matters is raised as well.
    file.seek(0)
    source: Any = file
    with _reporting(), tifffile.TiffFile(source) as tiff:
        page = tiff.pages.first
        pixels = page.asarray()
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        pixels, interpretation = pixels.reshape(*pixels.shape[:2], -1), "auto"
    if page.photometric == LAB:  # Floats of 0 to 100, and -128 to 127.
        a_and_b = np.ascontiguousarray(pixels[..., 1:3]).view(np.int8)
        pixels = np.concatenate([pixels[..., :1] * (100 / 255), a_and_b], axis=-1)
        interpretation = "lab"
    with np.errstate(over="ignore", invalid="ignore"):  # Infinities are refused.
        pixels = pixels.astype(np.float32)
    image = _wrap(pixels, get_int(tags, Tag.BITS_PER_SAMPLE, 8), interpretation)
    set_field(image, "orientation", get_int(tags, Tag.ORIENTATION, 1))
    return image


def _wrap(pixels: HostPixels, bits: int, interpretation: str = "auto") -> "pyvips.Image":
    if not pixels.size:
        height, width = pixels.shape[:2]
        raise ValueError(f"its size is {width} x {height} pixels")
    image = from_array(pixels, interpretation)
    set_field(image, "bits-per-sample", bits)
    return image
