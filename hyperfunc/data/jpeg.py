"""Compress images as JPEG files do."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

QUALITY_RANGE = (30, 95)
"""Lowest and highest quality that `compress` draws, in libjpeg's units."""

SUBSAMPLINGS = (0, 2)
"""Pillow's numbers for chroma at full resolution (4:4:4), and halved on both axes (4:2:0)."""

BLOCK_SIDE = 16
"""Side in pixels of the blocks that JPEG codes together where the chroma is halved (its MCUs)."""


def compress(
    image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Save an image as a JPEG and read it again, as if it were a part of a larger image.

    Args:
        image: the image, 0 to 255.
        rng: draws the quality, the chroma subsampling, and where the grid of blocks begins.
    """
    corner = rng.integers(BLOCK_SIDE, size=2)
    pad = [(c, -(c + n) % BLOCK_SIDE) for c, n in zip(corner, image.shape, strict=False)]
    quality = int(rng.integers(*QUALITY_RANGE, endpoint=True))
    subsampling = int(rng.choice(SUBSAMPLINGS))
    file = io.BytesIO()
    Image.fromarray(np.pad(image, [*pad, (0, 0)], mode="symmetric")).save(
        file, "JPEG", quality=quality, subsampling=subsampling
    )
    decoded = np.asarray(Image.open(file))
    return decoded[corner[0] :, corner[1] :][: image.shape[0], : image.shape[1]]
