"""The faces of the paper: the centre 128 x 128 pixels of an aligned CelebA image, resized.

Reference: Liu et al. 2015, "Deep learning face attributes in the wild" (CelebA).
"""

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from hyperfunc.pixels import imresize

CROP_SIDE = 128
"""Side of the centre crop, in pixels of the 218 x 178 originals."""

FACE_SIZES = (64, 128)
"""Sides of the faces that `make_face_transform` makes, in pixels; the paper's are 64 x 64."""


def make_face_transform(
    size: int,
) -> Callable[[UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "size size 3"]]:
    """Return a function that turns a CelebA image into a face of `size` x `size` pixels.

    Raises:
        ValueError: the size is not one of `FACE_SIZES`.
    """
    if size not in FACE_SIZES:
        raise ValueError(f"faces come in sizes {FACE_SIZES}, got {size}")
    return functools.partial(_crop_face, size=size)


def _crop_face(image: UInt8[np.ndarray, "h w 3"], *, size: int) -> UInt8[np.ndarray, "size size 3"]:
    height, width = image.shape[:2]
    if (height, width) == (size, size):  # The file holds the cropped and resized face.
        return image
    # Rows 45..172 and columns 25..152 of the 218 x 178 originals. The files of `faces/*.zip` are
    # 154 x 146 windows around the same centre: rows 13..140, columns 9..136.
    top, left = (height - CROP_SIDE) // 2, (width - CROP_SIDE) // 2
    if top < 0 or left < 0:
        raise ValueError(
            f"an image of {height} x {width} pixels is too small: a face needs {CROP_SIDE} x "
            f"{CROP_SIDE}"
        )
    image = image[top : top + CROP_SIDE, left : left + CROP_SIDE]
    return imresize(image, (size, size)) if size != CROP_SIDE else np.ascontiguousarray(image)
