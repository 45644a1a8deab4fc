"""Missing pixels: which ones a user means, and images that have some.

An image with missing pixels is float32; all colours of a missing pixel are NaN.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from hyperfunc.errors import UserError
from hyperfunc.files import as_path
from hyperfunc.images import SUFFIXES, read_image
from hyperfunc.types import HostPixels
from hyperfunc.upscaling.records import identify_file
from hyperfunc.values import has_alpha, split_alpha, to_integers, to_unit_range

ALPHA = "alpha"


class Mask(NamedTuple):
    """Which pixels are missing: see `find`."""

    source: str
    """The path of an image that is white where pixels are missing, or of a folder with such an
    image for each input; "alpha" for those that are transparent; or a colour such as "#ff00ff" for
    those that have it."""

    def check(self, source: Path, target: Path) -> None:
        """Check that the mask is a colour, or a file or a folder, before any image is read.

        Args:
            source: what is restored.
            target: where it goes.

        Raises:
            UserError: it is none, or a folder of masks lies among the images.
        """
        if not self.is_path:
            return
        path = as_path(self.source)
        if not path.exists():
            raise UserError(
                f"--mask {self.source}: no such file; give an image, a folder of images, alpha, or "
                "a colour such as #ff00ff"
            )
        if path.is_dir():
            place = path.resolve()
            for folder in (source, target):
                if folder.resolve() in (place, *place.parents):
                    raise UserError(
                        f"--mask {self.source}: lies in {folder}; keep masks and images apart"
                    )

    def choose(self, image: Path, root: Path) -> "Mask":
        """Return the mask of one image: of a folder, that of the same name, whatever the suffix.

        Args:
            image: the path of the image.
            root: its path relative to this one is that of the mask in the folder.

        Raises:
            UserError: the folder has none.
        """
        if not self.is_path or not (folder := as_path(self.source)).is_dir():
            return self
        place = folder.joinpath(*image.relative_to(root).parts)
        suffixes = [image.suffix, *(x for y in (".png", *SUFFIXES) for x in (y, y.upper()))]
        for suffix in suffixes:
            if (path := place.with_suffix(suffix)).is_file():
                return Mask(str(path))
        raise UserError(f"{image}: has no mask; give an image such as {place.with_suffix('.png')}")

    def describe(self) -> list[Any]:
        """Describe what determines the missing pixels of an image, for the record of an output."""
        return [self.source, *(identify_file(as_path(self.source)) if self.is_path else ())]

    def find(self, pixels: HostPixels, *, name: str) -> Bool[np.ndarray, "h w"]:
        """Find the missing pixels of an image, which errors call ``name``.

        Raises:
            UserError: the mask cannot be read or is of another size, the image has no alpha, or all
                of its pixels are missing.
        """
        if self.source == ALPHA:
            if not has_alpha(pixels.shape[2]):
                raise UserError(f"{name}: has no alpha: give an image or a colour as --mask")
            is_missing = pixels[..., -1] <= 0
        elif self._colour is not None:
            colours = to_unit_range(split_alpha(pixels)[0])
            is_missing = (np.abs(colours - self._colour) < 0.5 / 255).all(axis=-1)
        else:
            mask = read_image(as_path(self.source))
            if mask.shape[:2] != pixels.shape[:2]:
                sizes = [f"{x.shape[1]} x {x.shape[0]}" for x in (mask, pixels)]
                raise UserError(
                    f"{name}: has {sizes[1]} pixels, and the mask {self.source} {sizes[0]}: "
                    "give a mask of the image's size"
                )
            is_missing = mask.mean(axis=-1) >= 128
        if is_missing.all():
            raise UserError(f"{name}: all pixels are missing by --mask {self.source}")
        return is_missing

    @property
    def is_path(self) -> bool:
        """Whether it is an image or a folder, rather than a property of the images."""
        return self.source != ALPHA and self._colour is None

    @property
    def _colour(self) -> np.ndarray | None:
        if not re.fullmatch("#[0-9a-fA-F]{6}", self.source):
            return None
        return np.frombuffer(bytes.fromhex(self.source[1:]), np.uint8) / np.float32(255)


def mark_missing(pixels: HostPixels, is_missing: Bool[np.ndarray, "h w"] | None) -> HostPixels:
    """Turn an image into one with missing pixels; what was transparent there becomes opaque."""
    if is_missing is None:
        return pixels
    marked = np.array(to_unit_range(pixels))
    colours, alpha = split_alpha(marked)
    colours[is_missing], alpha[is_missing] = np.nan, 1.0
    return marked


def keep_known(result: HostPixels, image: HostPixels) -> HostPixels:
    """Let what was known stay as it was, where an image with missing pixels keeps its size."""
    if image.dtype != np.float32 or result.shape != image.shape:
        return result
    is_missing = np.isnan(image)
    return np.where(is_missing, result, image) if is_missing.any() else result


def unmark(
    result: HostPixels, original: HostPixels, is_missing: Bool[np.ndarray, "h w"] | None
) -> HostPixels:
    """Give what was rendered of a marked image the type of the original, and its known pixels."""
    if is_missing is None:
        return result
    result = result if original.dtype == np.float32 else to_integers(result, original.dtype)
    if result.shape != original.shape:
        return result
    return np.where(is_missing[..., None], result, original)
