"""Images on disk and in memory: `uint8` `[h, w, 3]` RGB, 0..255.

The models see `float32` in [0, 1]: `to_float` and `to_uint8` lead there and back. What is trained
on and measured is read here; `hyperfunc.images.photos` reads with all that a file holds.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import ExifTags, Image, ImageOps

from hyperfunc.errors import UserError
from hyperfunc.files import replacing
from hyperfunc.images import deep


def read_image(
    source: str | os.PathLike[str] | io.BytesIO | io.BufferedReader, *, name: str | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Reads an image file as RGB, 0..255.

    Grey becomes R = G = B, a palette its colours; an alpha channel is dropped; 16 bits and floats
    (as [0, 1]) are reduced to 8 bits; the orientation that a camera noted (EXIF) is applied; of an
    animation the first frame is taken.

    Args:
      source: a path, or a binary file object.
      name: what to call it in an error message; the path if None.

    Raises:
      UserError: if there is no such file, or it is no image, damaged or empty.
    """
    if name is None:
        name = str(getattr(source, "name", "image") if hasattr(source, "read") else source)
    try:
        pixels = _decode(Path(source) if isinstance(source, str | os.PathLike) else source)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; check the path") from None
    # Pillow's decoders raise nearly anything on damaged data (OSError, SyntaxError, ValueError,
    # struct.error, ...): whatever it is, the file cannot be read.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{name}: cannot be read as an image ({reason}); repair or remove it"
        ) from error
    if 0 in pixels.shape:
        raise UserError(f"{name}: has no pixels ({pixels.shape[0]} x {pixels.shape[1]}); remove it")
    return pixels


def write_image(
    path: str | os.PathLike[str], image: UInt8[Any, "h w 3"] | UInt8[Any, "h w"]
) -> None:
    """Writes an image; the suffix of the path says the format (`.png`, `.jpg`, `.webp`, ...).

    The array may be NumPy's or JAX'. It is written beside its place and then renamed, so that no
    reader ever sees half of it. Folders that are missing are made.

    Raises:
      ValueError: if the image is not uint8 `[h, w, 3]` or `[h, w]`.
      UserError: if the suffix is none that can be written, or the place cannot be written to.
    """
    path = Path(path)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"image must be uint8 [h, w, 3] or [h, w], got {image.dtype} {image.shape}"
        )
    image_format = Image.registered_extensions().get(path.suffix.lower())
    if image_format not in Image.SAVE:
        raise UserError(f"{path}: cannot write images as {path.suffix!r}; use .png, .jpg or .webp")
    with replacing(path) as beside:
        Image.fromarray(np.asarray(image)).save(beside, format=image_format)


def write_animation(
    path: str | os.PathLike[str],
    frames: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    milliseconds: int = 60,
) -> None:
    """Writes frames as an endless animation, lossless WebP.

    Raises:
      UserError: if the place cannot be written to.
    """
    first, *rest = (Image.fromarray(np.asarray(frame)) for frame in frames)
    with replacing(Path(path)) as beside:
        first.save(
            beside,
            format="WEBP",
            save_all=True,
            append_images=rest,
            duration=milliseconds,
            loop=0,
            lossless=True,
        )


def to_uint8(image: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """[0, 1] to 0..255, rounded half up; values beyond the range are clipped."""
    return np.floor(np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def to_float(image: UInt8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """0..255 to [0, 1]."""
    return image.astype(np.float32) / np.float32(255.0)


def _decode(source: deep.Source) -> UInt8[np.ndarray, "h w 3"]:
    pixels = deep.read_deep(source)
    if pixels is None:
        is_deep = deep.is_deep_png(source)  # Before it is opened: looking moves an open file.
        with deep.open_image(source) as image:
            if not is_deep:
                return _to_rgb(ImageOps.exif_transpose(image))
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        pixels = deep.turn(deep.read_samples16(source), orientation)
    colour = pixels[..., : pixels.shape[2] - (pixels.shape[2] in (2, 4))]
    colour = to_uint8(colour / np.float32(1 if colour.dtype == np.float32 else 65535))
    return np.broadcast_to(colour, (*colour.shape[:2], 3)).copy()


def _to_rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion would clip at 255
        grey = np.floor(np.clip(np.asarray(image), 0, 65535) / 257.0 + 0.5).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode == "F":
        return np.repeat(to_uint8(np.asarray(image))[..., None], 3, axis=-1)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB would warn
    return np.asarray(image.convert("RGB"))
