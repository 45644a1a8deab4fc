"""Photographs as files hold them: any channels and depth, with what is written beside the pixels.

A `Photo` is an array `[h, w, c]`, uint8 (0..255), uint16 (0..65535) or float32, of 1 to 4 channels
(grey, grey + alpha, RGB, RGBA; alpha is straight), upright as it is to be seen, and its metadata.
`hyperfunc.images.arrays` reads the same files as plain uint8 RGB, for training and evaluation.
"""

import contextlib
import dataclasses
import math
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from hyperfunc.errors import UserError
from hyperfunc.files import replacing
from hyperfunc.images import deep
from hyperfunc.images.colours import (
    SRGB,
    convert_to_srgb,
    decode_to_srgb,
    flatten,
    to_integers,
)
from hyperfunc.images.metadata import (
    Metadata,
    keep_letters,
    load_exif,
    note_losses,
    read_metadata,
    read_texts,
    read_xmp,
    resize_exif,
    save_arguments,
)
from hyperfunc.types import HostPixels, Size

FORMATS = {
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""What is written, by the suffix of the path."""

LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "PNG": 2**31 - 1, "TIFF": 2**32 - 1}
"""Pixels along one side, at most (of JPEG: what libjpeg writes)."""

CHANNELS = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"}
"""Names of the arrays we know, by their channels."""

JPEG_STEPS = 3688
"""Sum of the luma's quantisation steps at quality 50 (JPEG, ITU T.81, Table K.1; as rounded)."""

TIFF_VALUES = (18246, 18249, *range(40091, 40096))
"""Tags that are no texts and that a TIFF takes over: ratings, and what Windows says of a file."""

BEYOND = 1e-3
"""By how much floats may leave [0, 1], as rounding lets them."""

_MODES = {
    "1": "black and white",
    "F": "grey",
    "I": "grey",
    "L": "grey",
    "LA": "grey with alpha",
    "La": "grey with alpha",
    "P": "palette",
    "PA": "palette with alpha",
    "RGBX": "RGB",
    "RGBa": "RGBA",
}


@dataclasses.dataclass(frozen=True)
class Photo:
    """An image and its metadata.

    Attributes:
        pixels: see the top of this module.
        metadata: what else the file says.
        notes: what reading or writing could not keep as it was, for people to read.
    """

    pixels: HostPixels
    metadata: Metadata = Metadata()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Header:
    """What can be said of an image file without decoding it.

    Attributes:
        format: "PNG", "JPEG", ...
        size: (height, width) in pixels, upright.
        channels: of the `Photo` that is read.
        dtype: of the `Photo` that is read.
        colours: how the file holds them, such as "palette with transparency".
        bits: per channel, or per pixel of a palette, in the file.
        orientation: 1 to 8 as EXIF counts; what is read is upright already.
        frames: images in the file; the first is read.
        quality: of a JPEG, 1 to 100 as libjpeg counts, estimated from how it is quantised.
        metadata: all but texts that stand behind the pixels.
    """

    format: str
    size: Size
    channels: int
    dtype: np.dtype[Any]
    colours: str
    bits: int
    orientation: int
    frames: int
    quality: int | None
    metadata: Metadata

    @property
    def bytes(self) -> int:
        """Memory of the decoded image."""
        return math.prod(self.size) * self.channels * self.dtype.itemsize


def read_header(path: str | os.PathLike[str]) -> Header:
    """Look at an image file.

    Raises:
        UserError: there is no such file, or it is no image.
    """
    path = Path(path)
    with _reading(path):
        return _read_header(path)


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Read an image file.

    Palettes and 1 bit become RGB, RGBA or grey of 8 bits, a transparent colour becomes alpha, CMYK
    and Lab become sRGB (through the file's ICC profile if it has one), and the EXIF orientation is
    applied. Of several images the first is read.

    Raises:
        UserError: there is no such file, or it is no image, damaged, or of a kind not known.
    """
    path = Path(path)
    with _reading(path):
        header = _read_header(path)
        notes = [f"only the first of {header.frames} images"] if header.frames > 1 else []
        if header.format == "TIFF" and deep.has_unnamed_channel(path):
            notes.append("the channel after its colours is left out: what it means is not stated")
        texts: dict[str, str] = {}
        metadata = header.metadata
        pixels = deep.read_deep(path)
        if pixels is None:
            with deep.open_image(path) as image:
                if deep.is_deep_png(path):
                    pixels = deep.read_samples16(path)
                    pixels = _apply_key(pixels, image.info.get("transparency"))
                else:
                    _stretch_key(image, header)
                    pixels, metadata = _to_pixels(image, metadata, notes)
                image.load()  # PNG: texts and XMP may stand behind the pixels
                texts = read_texts(image)
                metadata = dataclasses.replace(metadata, xmp=metadata.xmp or read_xmp(image.info))
        if header.format != "TIFF":  # which is read upright
            pixels = np.ascontiguousarray(deep.turn(pixels, header.orientation))
        if 0 in pixels.shape:
            raise ValueError("it has no pixels")
        if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
            raise ValueError("it holds values that are not finite numbers")
    return Photo(pixels, dataclasses.replace(metadata, texts=texts), tuple(notes))


def read_as_shown(path: str | os.PathLike[str]) -> Photo:
    """Read an image file as a browser shows it: grey or RGB, in sRGB, on white where it is clear.

    Raises:
        UserError: as `read_photo`, or it holds floats beyond [0, 1].
    """
    photo = read_photo(path)
    low, high = photo.pixels.min(), photo.pixels.max()
    if photo.pixels.dtype == np.float32 and not (low >= -BEYOND and high <= 1 + BEYOND):
        raise UserError(
            f"{os.fspath(path)}: values from {low:g} to {high:g}; floats have to be in [0, 1]"
        )
    photo = to_srgb(photo)
    if photo.pixels.shape[2] in (2, 4):
        photo = dataclasses.replace(photo, pixels=flatten(photo.pixels))
    return photo


def check_output(path: str | os.PathLike[str], size: Size) -> str:
    """The format that a path asks for.

    Raises:
        UserError: it is none that can be written, or cannot hold an image of ``size``.
    """
    path = Path(path)
    format_ = FORMATS.get(path.suffix.lower())
    if format_ is None:
        raise UserError(
            f"{path}: cannot write images as {path.suffix!r}; use one of {', '.join(FORMATS)}"
        )
    if max(size) > LARGEST_SIDE[format_]:
        raise UserError(
            f"{path}: {size[1]} x {size[0]} pixels are too many for {format_}, which ends at "
            f"{LARGEST_SIDE[format_]} a side; use .png or .tif"
        )
    return format_


def write_photo(path: str | os.PathLike[str], photo: Photo, *, quality: int = 95) -> list[str]:
    """Write an image with its metadata; the suffix of the path says the format.

    PNG holds 8 and 16 bits, TIFF 8 and 16 bits and floats, JPEG and WebP 8 bits: what has more is
    reduced, floats to 16 or 8 bits as [0, 1]. JPEG has no alpha: the image is laid on white.

    The file is written beside its place and then renamed, so that no half of it is ever there.

    Args:
        path: where to; folders that are missing are made.
        photo: what to write.
        quality: of JPEG (without chroma subsampling) and WebP, 1 to 100; WebP is lossless at 100.

    Returns:
        What the format could not hold.

    Raises:
        UserError: the suffix is not known, or the place cannot be written to.
    """
    path = Path(path)
    pixels, notes = photo.pixels, []
    format_ = check_output(path, (pixels.shape[0], pixels.shape[1]))
    if pixels.shape[2] in (2, 4) and format_ == "JPEG":
        pixels = flatten(pixels)
        notes.append("JPEG has no alpha: laid on white")
    if format_ in ("JPEG", "WEBP") and pixels.dtype != np.uint8:
        notes.append(f"{format_} holds 8 bits per channel: reduced from {_depth(pixels)}")
        pixels = to_integers(pixels, np.uint8)
    elif format_ == "PNG" and pixels.dtype == np.float32:
        notes.append("PNG holds no floats: reduced to 16 bits")
        pixels = to_integers(pixels, np.uint16)
    metadata = photo.metadata
    if format_ == "WEBP" and (metadata.icc or b"")[16:20] == b"GRAY":
        converted = to_srgb(Photo(pixels, metadata))
        is_same = converted.pixels is pixels
        dropped = ("ICC profile dropped: it is of grey, and WebP holds RGB",)
        notes += dropped if is_same else converted.notes
        pixels, metadata = converted.pixels, dataclasses.replace(metadata, icc=None)
    exif = None
    try:
        exif = resize_exif(metadata.exif, (pixels.shape[0], pixels.shape[1]))
    except Exception:  # It comes from elsewhere, and the pixels matter more.
        notes.append("EXIF dropped: it is damaged")
    with replacing(path) as beside:
        if format_ == "TIFF":
            _write_tiff(beside, pixels, metadata, exif, notes)
        elif pixels.dtype == np.uint16:
            with beside.open("wb") as file:
                chunks = deep.png_metadata(**save_arguments("PNG", metadata, exif, notes))
                deep.write_png16(file, pixels, chunks=chunks)
        else:
            arguments = save_arguments(format_, metadata, exif, notes)
            if format_ == "JPEG":
                arguments |= {"quality": quality, "subsampling": 0}
            if format_ == "WEBP":
                arguments |= {"quality": quality, "lossless": quality == 100}
            image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
            image.save(beside, format_, **arguments)
    return notes


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        # Looked at before it is opened: opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise ValueError("a pipe or a device, not a file")
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise UserError(f"{path}: permission denied; check who may read it") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, not an image; give a file") from None
    except UserError:
        raise
    # Decoders raise nearly anything on damaged data: whatever it is, the file cannot be read.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: cannot be read as an image ({reason}); repair or remove it"
        ) from error


def _read_header(path: Path) -> Header:
    frames, quality, info = 1, None, {}
    if deep.is_deep_tiff(path):
        size, channels, dtype, bits, frames = deep.describe_deep_tiff(path)
        format_, colours = "TIFF", CHANNELS[channels]
    else:
        with deep.open_image(path) as image:
            format_, info = image.format or "?", image.info
            size, frames = (image.height, image.width), getattr(image, "n_frames", 1)
            colours, channels = _describe(image)
            is_deep = image.mode == "I" or image.mode.startswith("I;16")
            bits = 1 if image.mode == "1" else 16 if is_deep else 8
            if format_ == "MPO":  # a JPEG whose further images belong to the first
                format_, frames = "JPEG", 1
            if format_ == "JPEG":
                quality = _estimate_quality(getattr(image, "quantization", {}).get(0))
            if format_ == "PNG":
                bits, colour_type = deep.read_png_header(path) or (bits, 0)
                if colour_type == 4:  # Pillow opens grey + alpha of 16 bits as RGBA
                    colours, channels = CHANNELS[2], 2
            if image.mode == "F":
                bits = 32
            if deep.is_deep_ppm(path):
                bits = 16
            dtype = np.dtype({16: np.uint16, 32: np.float32}.get(bits, np.uint8))
    metadata, orientation = read_metadata(path, format_, info)
    if orientation >= 5 and format_ != "TIFF":
        size = (size[1], size[0])
    return Header(
        format_, size, channels, dtype, colours, bits, orientation, frames, quality, metadata
    )


def _estimate_quality(steps: Sequence[int] | None) -> int | None:
    """The quality at which libjpeg would quantise the luma with about these steps.

    Reference: libjpeg 6b, jcparam.c, jpeg_quality_scaling.
    """
    if not steps:
        return None
    percent = 100 * sum(steps) / JPEG_STEPS
    return max(round(100 - percent / 2 if percent <= 100 else 5000 / percent), 1)


def _describe(image: Image.Image) -> tuple[str, int]:
    """The colours of an opened file in words, and the channels that it is read with."""
    has_key = "transparency" in image.info
    colours = "grey" if image.mode.startswith("I;16") else _MODES.get(image.mode, image.mode)
    if has_key:
        colours += " with transparency"
    is_grey = image.mode in ("1", "F", "L", "LA", "La", "I") or image.mode.startswith("I;16")
    has_alpha = has_key or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    return colours, (1 if is_grey else 3) + has_alpha


def _stretch_key(image: Image.Image, header: Header) -> None:
    """Bring PNG's transparent grey to the range to which Pillow brings pixels of 2 or 4 bits."""
    key = image.info.get("transparency")
    if header.format == "PNG" and image.mode == "L" and header.bits < 8 and isinstance(key, int):
        image.info["transparency"] = key * 255 // (2**header.bits - 1)


def _to_pixels(
    image: Image.Image, metadata: Metadata, notes: list[str]
) -> tuple[np.ndarray, Metadata]:
    """Decode what Pillow decodes to the full; may replace the colour profile."""
    _, channels = _describe(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None], metadata
    if image.mode == "F":
        return np.asarray(image)[..., None], metadata
    if image.mode in ("CMYK", "LAB"):
        pixels, icc, note = decode_to_srgb(image, metadata.icc)
        notes.append(note)
        return pixels, dataclasses.replace(metadata, icc=icc)
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    if image.mode in ("RGBa", "PA"):
        image = image.convert("RGBA").convert(mode)
    elif image.mode != mode:
        image = image.convert(mode)
    pixels = np.asarray(image)
    return (pixels[..., None] if pixels.ndim == 2 else pixels), metadata


def to_srgb(photo: Photo) -> Photo:
    """Convert to sRGB through the ICC profile, with 8 bits; as it is if that says sRGB already."""
    if not photo.metadata.icc:
        return photo
    pixels, note = convert_to_srgb(photo.pixels, photo.metadata.icc)
    if note is None:
        return photo
    metadata = photo.metadata
    if pixels is not photo.pixels:
        metadata = dataclasses.replace(metadata, icc=SRGB.tobytes())
    return Photo(pixels, metadata, (*photo.notes, note))


def _apply_key(pixels: np.ndarray, key: Any) -> np.ndarray:
    """Turn PNG's transparent colour into an alpha channel."""
    if key is None or pixels.shape[2] not in (1, 3):
        return pixels
    is_clear = (pixels == np.asarray(key, pixels.dtype)).all(axis=-1, keepdims=True)
    return np.concatenate([pixels, np.where(is_clear, 0, 65535).astype(np.uint16)], axis=-1)


def _depth(pixels: np.ndarray) -> str:
    return "floats" if pixels.dtype == np.float32 else f"{8 * pixels.dtype.itemsize} bits"


def _write_tiff(
    path: Path, pixels: np.ndarray, metadata: Metadata, exif: bytes | None, notes: list[str]
) -> None:
    entries, directories = load_exif(exif) if exif else ({}, {})
    texts = {tag: value for tag, value in entries.items() if isinstance(value, str)}
    texts = {tag: text.encode("latin-1", "replace") for tag, text in texts.items() if text}
    values = {tag: entries[tag] for tag in TIFF_VALUES if isinstance(entries.get(tag), bytes | int)}
    described = ExifTags.Base.ImageDescription in texts
    if "comment" in metadata.texts:
        texts.setdefault(ExifTags.Base.ImageDescription, metadata.texts["comment"].encode())
    note_losses("TIFF", metadata, notes, keeps=() if described else ("comment",))
    deep.write_tiff(
        path,
        pixels,
        dpi=metadata.dpi,
        icc=metadata.icc,
        xmp=metadata.xmp,
        texts=texts,
        values=values,
        directories={tag: keep_letters(entries) for tag, entries in directories.items()},
    )
