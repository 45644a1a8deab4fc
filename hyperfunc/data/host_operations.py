"""Random operations on the image of one training example, on the host, in NumPy.

`hyperfunc.data.device_pipeline` does the same to a batch on the devices. The arithmetic that both
share is in `hyperfunc.data.augmentation`.
"""

import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from hyperfunc.data.augmentation import (
    DITHERED_SHARE,
    NOISE_SIGMA_RANGE,
    Disturbance,
    permute_channels,
    remove_colors,
    turn,
)
from hyperfunc.pixels import imresize, mirror_indices
from hyperfunc.types import HostImage, Size

SUBSAMPLINGS = (0, 2)
"""Pillow's numbers for chroma at full resolution (4:4:4), and halved on both axes (4:2:0)."""

BLOCK_SIDE = 16
"""Side in pixels of the blocks that JPEG codes together where the chroma is halved (its MCUs)."""


class Setting(NamedTuple):
    """What all examples of a batch share."""

    scale: int
    phase: tuple[float, float]
    """(y, x): for super-resolution the shift of the low-resolution grid, in pixels of the target;
    for a reconstruction the first row and column that are compared."""


def crop_at_random(
    image: HostImage, side: int, rng: np.random.Generator, *, margin: int = 0
) -> UInt8[np.ndarray, "side side 3"]:
    """Cut out a random square of ``side`` pixels with its margins, mirrored beyond the border."""
    for axis, pixels in enumerate(image.shape[:2]):
        room = pixels - (side - 2 * margin)
        first = (int(rng.integers(room + 1)) if room > 0 else room // 2) - margin
        index: slice | np.ndarray = slice(first, first + side)
        if first < 0 or first + side > pixels:
            index = mirror_indices(np.arange(first, first + side), pixels)
        image = image[index] if axis == 0 else image[:, index]
    return image


def shrink_image(image: HostImage, size: Size) -> HostImage:
    """Reduce an image with Pillow, whose bicubic filter is faster than the protocol's."""
    height, width = size
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def augment(
    image: UInt8[np.ndarray, "n n 3"],
    rng: np.random.Generator,
    *,
    flips: bool,
    permute_colors: float,
    grey: float = 0.0,
) -> UInt8[np.ndarray, "n n 3"]:
    """Apply a random symmetry of the square, and at times permute the channels or remove colours.

    ``permute_colors`` and ``grey`` are the probabilities of the two.
    """
    if flips:
        image = turn(image, rng.integers(2, size=3))
    if permute_colors and rng.uniform() < permute_colors:
        image = permute_channels(image, rng.permutation(3)[None, None])
    if grey and rng.uniform() < grey:
        image = remove_colors(image)
    return image


def draw_disturbance(size: Size, rng: np.random.Generator) -> Disturbance:
    """Draw noise, grey or coloured, and whether to dither with it."""
    sigma = np.exp(rng.uniform(*np.log(NOISE_SIGMA_RANGE)))
    channels = rng.choice((1, 3))
    noise = rng.standard_normal((*size, channels))
    return Disturbance(noise, sigma, rng.uniform() < DITHERED_SHARE)


def enlarge(
    difference: Float32[np.ndarray, "n n 3"], setting: Setting
) -> Float32[np.ndarray, "m m 3"]:
    """Enlarge a difference of observed crops bicubically to the pixels of the target."""
    scale, (y, x) = setting
    size = (scale * difference.shape[0], scale * difference.shape[1])
    return imresize(difference, size, scale=(float(scale), float(scale)), offset=(-y, -x))


def compress(image: HostImage, rng: np.random.Generator, qualities: tuple[int, int]) -> HostImage:
    """Save an image as a JPEG and read it again, as if it were a part of a larger image.

    The quality (in libjpeg's units), the chroma subsampling and the place of the grid are drawn.
    """
    corner = rng.integers(BLOCK_SIDE, size=2)
    pad = [(c, -(c + n) % BLOCK_SIDE) for c, n in zip(corner, image.shape, strict=False)]
    quality = int(rng.integers(*qualities, endpoint=True))
    subsampling = int(rng.choice(SUBSAMPLINGS))
    padded = np.pad(image, [*pad, (0, 0)], mode="symmetric")
    decoded = save_as_jpeg(padded, quality, subsampling=subsampling)
    return decoded[corner[0] :, corner[1] :][: image.shape[0], : image.shape[1]]


def save_as_jpeg(image: np.ndarray, quality: int, *, subsampling: int = 2) -> np.ndarray:
    """Save an image, uint8 [h, w, 3] or grey [h, w], as a JPEG, and read it again.

    The quality is 1 to 100, in libjpeg's units; ``subsampling`` is one of `SUBSAMPLINGS`.
    """
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))
