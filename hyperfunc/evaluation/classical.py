"""Restoration without learning: the methods of scikit-image, told how strong the damage is.

Of a few values that were tried for their other settings, those here have the highest PSNR on set5,
for noise of sigma 25 and for a blur of 1.6 pixels.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.ndimage
from jaxtyping import Float32, Float64
from skimage import restoration

Pixels = Float32[np.ndarray, "h w c"]

NLM_STRENGTH = 0.6
TV_WEIGHT = 0.9
WIENER_BALANCE = 0.01
RL_STEPS = 30

SMALLEST_LIGHT = 1e-3
"""Richardson and Lucy divide by the image."""


class Observation(NamedTuple):
    """A damaged image, and what the methods here are told of it."""

    pixels: Pixels
    """Grey or RGB, nominally [0, 1]; noise is not clipped, and what is missing is NaN."""
    error: float
    """Standard deviation of what noise or compression has added, in units of [0, 1]."""
    kernel: Float64[np.ndarray, "n n"] | None = None
    """What one point became where the image was blurred."""


def average_alike(seen: Observation) -> Pixels:
    """Average each pixel with those whose surroundings are alike.

    Reference: Buades et al. 2005, "A non-local algorithm for image denoising".
    """
    restored = restoration.denoise_nl_means(
        seen.pixels,
        h=NLM_STRENGTH * seen.error,
        sigma=seen.error,
        fast_mode=True,
        patch_size=5,
        patch_distance=6,
        channel_axis=-1,
    )
    return restored.reshape(seen.pixels.shape)  # Where there is one channel, its axis is dropped.


def shrink_wavelets(seen: Observation) -> Pixels:
    """Move the coefficients of wavelets towards zero, in YCbCr where there is colour.

    Reference: Chang et al. 2000, "Adaptive wavelet thresholding for image denoising and
    compression".
    """
    is_colour = seen.pixels.shape[2] == 3
    return restoration.denoise_wavelet(
        seen.pixels, sigma=seen.error, convert2ycbcr=is_colour, channel_axis=-1, rescale_sigma=True
    )


def smooth_variation(seen: Observation) -> Pixels:
    """Minimise the total variation.

    Reference: Chambolle 2004, "An algorithm for total variation minimization and applications".
    """
    return restoration.denoise_tv_chambolle(
        seen.pixels, weight=TV_WEIGHT * seen.error, channel_axis=-1
    )


def invert_regularised(seen: Observation) -> Pixels:
    """Divide by the spectrum of the blur, where it is above the noise (Wiener and Hunt)."""

    def restore(channel: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return np.asarray(restoration.wiener(channel, kernel, WIENER_BALANCE, clip=False))

    return _deconvolve(seen, restore)


def iterate_richardson_lucy(seen: Observation) -> Pixels:
    """Iterate towards the image that is most likely before the blur; few steps damp the noise.

    Reference: Richardson 1972, "Bayesian-based iterative method of image restoration"; Lucy 1974.
    """

    def restore(channel: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        positive = channel.clip(SMALLEST_LIGHT)
        return restoration.richardson_lucy(positive, kernel, num_iter=RL_STEPS, clip=False)

    return _deconvolve(seen, restore)


def _deconvolve(
    seen: Observation, restore: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Pixels:
    """Restore each channel, continued beyond its border: the methods wrap around or add zeros."""
    kernel = seen.kernel
    assert kernel is not None
    pad = 2 * kernel.shape[0]
    padded = np.pad(seen.pixels, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    padded = _join_sides(padded, kernel)
    channels = [restore(channel, kernel) for channel in np.moveaxis(padded, -1, 0)]
    return np.stack(channels, axis=-1)[pad:-pad, pad:-pad].astype(np.float32)


def _join_sides(pixels: Pixels, kernel: Float64[np.ndarray, "n n"]) -> Pixels:
    """Fade towards the border to the image blurred across it, as MATLAB's ``edgetaper`` does.

    The weights are one minus the autocorrelation of the kernel.
    """
    blurred = scipy.ndimage.convolve(pixels, kernel[..., None], mode="wrap")
    weights = np.ones(pixels.shape[:2])
    for axis, sums in enumerate((kernel.sum(axis=1), kernel.sum(axis=0))):
        correlation = np.correlate(sums, sums, mode="full")[len(sums) - 1 :]
        away = np.arange(pixels.shape[axis])
        away = np.minimum(away, away[::-1])  # From the border, in pixels.
        fall = np.interp(away, np.arange(len(sums)), correlation / correlation[0], right=0.0)
        weights *= 1 - (fall[:, None] if axis == 0 else fall)
    return (weights[..., None] * pixels + (1 - weights[..., None]) * blurred).astype(np.float32)


def continue_smoothly(seen: Observation) -> Pixels:
    """Fill missing pixels with a biharmonic function.

    Reference: Damelin and Hoang 2018, "On surface completion and image inpainting by biharmonic
    functions: numerical aspects".
    """
    is_missing = np.isnan(seen.pixels[..., 0])
    known = np.where(is_missing[..., None], 0, seen.pixels)
    return restoration.inpaint_biharmonic(known, is_missing, channel_axis=-1).astype(np.float32)


DENOISING = {
    "non-local": average_alike,
    "wavelets": shrink_wavelets,
    "variation": smooth_variation,
}
DEBLURRING = {"wiener": invert_regularised, "richardson-lucy": iterate_richardson_lucy}
INPAINTING = {"biharmonic": continue_smoothly}
