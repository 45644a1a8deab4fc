"""The arithmetic on the pixels of training examples, written once for the host and the devices.

Every function takes NumPy or JAX arrays, `[..., h, w, c]` in levels (0 to 255), and computes with
the namespace of its argument. The callers draw the random numbers: `hyperfunc.data.host_operations`
for one example on the host, `hyperfunc.data.device_pipeline` for a batch on the devices.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

NOISE_SIGMA_RANGE = (10.0, 200.0)
"""Smallest and largest standard deviation of the noise, in levels."""

DITHERED_SHARE = 0.25
"""Share of the disturbed examples that are dithered to black and white."""


LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of ITU-R BT.601."""


class Disturbance(NamedTuple):
    """Noise for one example, or for each example of a batch.

    A standard deviation of 0 without dithering leaves an example as it is.
    """

    noise: Any
    """Standard normal, [..., h, w, 3], or [..., h, w, 1] for grey noise."""
    sigma: Any
    """Standard deviation in levels, a scalar or [..., 1, 1, 1]."""
    is_dithered: Any
    """Whether to round each channel to 0 or 255 afterwards, a scalar or [..., 1, 1, 1]."""


def measure_detail(image: Any) -> Any:
    """Measure how much each image varies: the mean absolute difference of neighbours, in levels.

    Only the green channel counts, because the channels of photographs vary alike.
    """
    xp = image.__array_namespace__()
    green = image[..., 1].astype(xp.int16)
    vertical, horizontal = (
        xp.abs(xp.diff(green, axis=axis)).mean(axis=(-2, -1)) for axis in (-2, -1)
    )
    return vertical + horizontal


def turn(image: Any, flags: Any) -> Any:
    """Apply one of the eight symmetries of the square: reverse rows, columns, and transpose.

    The flags are three scalars, or three arrays [..., 1, 1, 1].
    """
    xp = image.__array_namespace__()
    reverse_rows, reverse_columns, transpose = flags
    image = xp.where(reverse_rows, xp.flip(image, axis=-3), image)
    image = xp.where(reverse_columns, xp.flip(image, axis=-2), image)
    return xp.where(transpose, image.swapaxes(-3, -2), image)


def permute_channels(image: Any, order: Any) -> Any:
    """Reorder the colour channels by their numbers, [..., 1, 1, c]."""
    return image.__array_namespace__().take_along_axis(image, order, axis=-1)


def remove_colors(image: Any) -> Any:
    """Give all channels the luma of each pixel, rounded, [..., h, w, 3] uint8."""
    xp = image.__array_namespace__()
    luma = image.astype(xp.float32) @ xp.asarray(LUMA, xp.float32)
    return xp.broadcast_to(xp.round(luma).astype(xp.uint8)[..., None], image.shape)


def disturb(
    observed: Any, target: Any, disturbance: Disturbance, enlarge: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """Disturb an observed crop, and its target by the enlargement of the same disturbance.

    ``enlarge`` enlarges a difference of observed crops, float32, to the size of the target.
    """
    xp = observed.__array_namespace__()
    noisy = observed + disturbance.sigma * disturbance.noise
    dithered = xp.where(noisy < 128, 0, 255)
    disturbed = round_to_levels(xp.where(disturbance.is_dithered, dithered, noisy))
    difference = disturbed.astype(xp.float32) - observed.astype(xp.float32)
    return disturbed, round_to_levels(target + enlarge(difference))


def round_to_levels(image: Any) -> Any:
    """Round to the nearest level (half to even), clip to 0 to 255, and convert to uint8."""
    xp = image.__array_namespace__()
    return xp.clip(xp.round(image), 0, 255).astype(xp.uint8)
