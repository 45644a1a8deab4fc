"""Writing image files: photographs with their metadata, plain images, and animations."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hyperfunc.errors import UserError
from hyperfunc.files import as_path, replacing
from hyperfunc.images.colours import flatten, is_profile, reduce_depth, to_srgb
from hyperfunc.images.containers import make_insertion
from hyperfunc.images.libvips import CODECS, from_array, save_target, set_field
from hyperfunc.images.metadata import Metadata, Photo, append_tags, attach_metadata, fit_metadata
from hyperfunc.images.other_formats import WRITABLE
from hyperfunc.images.read import FLOAT_TOLERANCE
from hyperfunc.types import HostPixels, Size
from hyperfunc.values import has_alpha

FORMATS = {x: name for name, codec in CODECS.items() if codec.max_side for x in codec.suffixes}
"""Formats that are written with metadata, by the suffix of the path."""


def check_output(path: str | os.PathLike[str], size: Size) -> str:
    """The format that a path asks for.

    Raises:
        UserError: it is none that can be written, or cannot hold an image of ``size``.
    """
    path = as_path(path)
    format_ = FORMATS.get(path.suffix.lower())
    if format_ is None:
        raise UserError(
            f"{path}: cannot write images as {path.suffix!r}; use one of {', '.join(FORMATS)}"
        )
    largest = CODECS[format_].max_side
    if max(size) > largest:
        raise UserError(
            f"{path}: {size[1]} x {size[0]} pixels are too many for {format_}, which ends at "
            f"{largest} a side; use .png or .tif"
        )
    return format_


def write_photo(
    path: str | os.PathLike[str],
    photo: Photo,
    *,
    quality: int = 95,
    before: Callable[[Path], None] = lambda beside: None,
) -> list[str]:
    """Write an image with its metadata; the suffix of the path determines the format.

    TIFF holds 8 and 16 bits and floats, PNG 8 and 16 bits, AVIF 8 and 12 bits, JPEG and WebP 8
    bits. Deeper images are reduced, floats as [0, 1]. JPEG has no alpha: the image is laid on
    white. Notes about what the format cannot hold are returned. The quality, 1 to 100, is that of
    JPEG (without chroma subsampling), WebP and AVIF, which are lossless at 100. ``before`` is
    called with the complete file before it takes its place.

    Raises:
        UserError: the suffix is unknown, the image is too large for the format, or the file cannot
            be written.
    """
    path = as_path(path)
    format_ = check_output(path, (photo.pixels.shape[0], photo.pixels.shape[1]))
    pixels, metadata, notes = _fit(photo, format_)
    with replacing(path) as beside:
        with beside.open("w+b") if format_ == "TIFF" else beside.open("wb") as file:
            save_target(
                attach_metadata(from_array(pixels), metadata, format_),
                file,
                format_,
                insertion=make_insertion(format_, metadata.texts, metadata.colour),
                **_options(format_, pixels, metadata, quality),
            )
        if format_ == "TIFF":
            append_tags(beside, metadata, (pixels.shape[0], pixels.shape[1]))
        before(beside)
    return notes


def write_image(
    path: str | os.PathLike[str], image: UInt8[Any, "h w 3"] | UInt8[Any, "h w"]
) -> None:
    """Write an array of NumPy or JAX as by `write_photo`; also as `.bmp`, `.ppm` or `.tga`.

    Raises:
        ValueError: the image is not uint8 `[h, w, 3]` or `[h, w]`.
        UserError: the suffix is unknown, or the file cannot be written.
    """
    path = as_path(path)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"image must be uint8 [h, w, 3] or [h, w], got {image.dtype} {image.shape}; "
            "hyperfunc.to_uint8 converts"
        )
    image = np.asarray(image)
    if path.suffix.lower() not in WRITABLE:
        write_photo(path, Photo(image.reshape(*image.shape[:2], -1)))
        return
    from PIL import Image

    with replacing(path) as beside, beside.open("wb") as file:
        Image.fromarray(image).save(file, format=WRITABLE[path.suffix.lower()])


def write_animation(
    path: str | os.PathLike[str],
    frames: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    milliseconds: int = 60,
) -> None:
    """Write frames as an endless animation, lossless WebP.

    Raises:
        UserError: the file cannot be written.
    """
    image = from_array(np.concatenate([np.asarray(frame) for frame in frames]))
    set_field(image, "page-height", frames[0].shape[0])
    set_field(image, "loop", 0)
    set_field(image, "delay", [milliseconds] * len(frames))
    with replacing(path) as beside, beside.open("wb") as file:
        save_target(image, file, "WebP", lossless=True)


def _fit(photo: Photo, format_: str) -> tuple[HostPixels, Metadata, list[str]]:
    """Bring an image to what a format holds, and note what is lost."""
    pixels, notes = photo.pixels, []
    if format_ == "JPEG" and has_alpha(pixels.shape[2]):
        pixels = flatten(pixels)
        notes.append("JPEG has no alpha: laid on white")
    bits, most = 8 * pixels.dtype.itemsize, CODECS[format_].max_bits
    if bits > most:
        is_float = pixels.dtype == np.float32
        depth = "floats" if is_float else f"{bits} bits"
        notes.append(f"{format_} holds {most} bits per channel: reduced from {depth}")
        low, high = (pixels.min(), pixels.max()) if is_float else (0, 1)
        if not (low >= -FLOAT_TOLERANCE and high <= 1 + FLOAT_TOLERANCE):
            notes.append(f"values from {low:g} to {high:g} are limited to [0, 1]; TIFF keeps them")
        pixels = reduce_depth(pixels, np.uint8 if most == 8 else np.uint16)
    metadata = photo.metadata
    space = b"GRAY" if pixels.shape[2] <= 2 else b"RGB "
    if metadata.icc and format_ in ("AVIF", "WebP") and space == b"GRAY":
        # They hold RGB, which does not go with a profile of grey.
        converted = to_srgb(Photo(pixels, metadata))
        notes += converted.notes
        pixels, metadata = converted.pixels, dataclasses.replace(metadata, icc=None)
    elif metadata.icc and not is_profile(metadata.icc, space):
        notes.append("ICC profile dropped: it is damaged, or does not fit the image")
        metadata = dataclasses.replace(metadata, icc=None)
    return pixels, fit_metadata(metadata, format_, notes), notes


def _options(format_: str, pixels: HostPixels, metadata: Metadata, quality: int) -> dict[str, Any]:
    """Options of libvips' function for a format."""
    lossy = {"Q": quality, "lossless": quality == 100}
    options: dict[str, dict[str, Any]] = {
        "AVIF": {**lossy, "compression": "av1", "bitdepth": 8 if pixels.dtype == np.uint8 else 12},
        "JPEG": {"Q": quality, "subsample_mode": "off"},
        "PNG": {"filter": "all"},  # By default none, and photographs are a third larger.
        "TIFF": {
            "compression": "deflate",
            "predictor": "none" if pixels.dtype == np.float32 else "horizontal",
            # Larger arrays may need offsets of 64 bits, which fewer programs read.
            "bigtiff": pixels.nbytes > 2**32 - 2**26,
        },
        "WebP": {**lossy, "exact": quality == 100},
    }
    # libvips would make up EXIF to put the resolution into.
    needs_exif = metadata.exif or (metadata.dpi and format_ not in ("PNG", "TIFF"))
    return {"keep": "all" if needs_exif else "xmp:iptc:icc:other", **options[format_]}
