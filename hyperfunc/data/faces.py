"""Faces as the paper takes them: the centre 128 x 128 of an aligned CelebA image, resized.

Reference: Liu et al. 2015, "Deep learning face attributes in the wild" (CelebA).
"""

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from hyperfunc.pixels import imresize

CROP = 128
"""Side of the crop, in pixels of the 218 x 178 originals."""

SIZES = (64, 128)
"""Sides of the images that can be asked for, in pixels; the paper's are 64 x 64."""


def make_face_transform(
    size: int,
) -> Callable[[UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "size size 3"]]:
    """The function from a CelebA image to the face of `size` x `size` pixels.

    Raises:
      ValueError: if the size is not one of `SIZES`.
    """
    if size not in SIZES:
        raise ValueError(f"faces come in sizes {SIZES}, got {size}")
    return functools.partial(_face, size=size)


def _face(image: UInt8[np.ndarray, "h w 3"], *, size: int) -> UInt8[np.ndarray, "size size 3"]:
    height, width = image.shape[:2]
    if (height, width) == (size, size):  # cropped and resized before it was stored
        return image
    # Rows 45..172 and columns 25..152 of the 218 x 178 originals. The files of `faces/*.zip` are
    # 154 x 146 windows around the same centre: rows 13..140, columns 9..136.
    top, left = (height - CROP) // 2, (width - CROP) // 2
    if top < 0 or left < 0:
        raise ValueError(f"a face must be at least {CROP} x {CROP} pixels, got {image.shape}")
    image = image[top : top + CROP, left : left + CROP]
    return imresize(image, (size, size)) if size != CROP else np.ascontiguousarray(image)
