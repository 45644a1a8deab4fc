"""Random operations on the image of one training example, on the host, in NumPy.

`hyperfunc.data.device_pipeline` does the same to a batch on the devices. The arithmetic that both
share is in `hyperfunc.data.augmentation`.
"""

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from hyperfunc.data.augmentation import (
    DITHERED_SHARE,
    NOISE_SIGMA_RANGE,
    Disturbance,
    permute_channels,
    round_to_levels,
    turn,
)
from hyperfunc.data.setting import Setting
from hyperfunc.pixels import imresize, mirror_indices
from hyperfunc.types import HostImage, Size


def crop_at_random(
    image: HostImage, side: int, rng: np.random.Generator, *, margin: int = 0
) -> UInt8[np.ndarray, "side side 3"]:
    """Cut out a random square; a margin that reaches beyond the border of the image is mirrored.

    Args:
        image: an image of any size.
        side: side of the square with its margins, in pixels.
        rng: draws the place.
        margin: width of the margin, in pixels.
    """
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
) -> UInt8[np.ndarray, "n n 3"]:
    """Apply a random symmetry of the square, and with some probability permute the channels."""
    if flips:
        image = turn(image, rng.integers(2, size=3))
    if permute_colors and rng.uniform() < permute_colors:
        image = permute_channels(image, rng.permutation(3)[None, None])
    return image


def draw_disturbance(size: Size, rng: np.random.Generator) -> Disturbance:
    """Draw noise, grey or coloured, and whether to dither with it."""
    sigma = np.exp(rng.uniform(*np.log(NOISE_SIGMA_RANGE)))
    channels = rng.choice((1, 3))
    noise = rng.standard_normal((*size, channels))
    return Disturbance(noise, sigma, rng.uniform() < DITHERED_SHARE)


def enlarge(
    difference: Float32[np.ndarray, "n n 3"], size: Size, setting: Setting
) -> Float32[np.ndarray, "m m 3"]:
    """Enlarge a difference of observed crops bicubically to the pixels of the target."""
    scale = float(setting.scale)
    offset = (-setting.phase[0], -setting.phase[1])
    return imresize(difference, size, scale=(scale, scale), offset=offset)


def add_enlarged(
    target: UInt8[np.ndarray, "m m 3"], difference: Float32[np.ndarray, "n n 3"], setting: Setting
) -> UInt8[np.ndarray, "m m 3"]:
    """Add a difference of observed crops, enlarged bicubically, to the target."""
    size = (target.shape[0], target.shape[1])
    return round_to_levels(target + enlarge(difference, size, setting))
