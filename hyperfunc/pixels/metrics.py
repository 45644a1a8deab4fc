"""Image quality by the protocol of super-resolution papers: PSNR and SSIM on luma, border cropped.

Host code on uint8 NumPy images. Each function returns one number for a pair of images, in whatever
order; the caller averages over images.

Reference: Wang et al. 2004, "Image quality assessment: from error visibility to structural
similarity", Section III-B; luma is MATLAB's `rgb2ycbcr` (ITU-R BT.601) without its rounding.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, UInt8

from hyperfunc.errors import UserError, check_extra

Image = UInt8[np.ndarray, "h w 3"]

SSIM_WINDOW = 11
"""Side of the Gaussian window of SSIM, in pixels."""

EXACT = 100.0
"""The value of an infinite PSNR (an image without any error) in a mean, in decibels."""

YCBCR = (
    np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
    / 255.0
)
"""ITU-R BT.601: rows for Y, Cb and Cr of R, G and B in [0, 255], without the offsets 16, 128 and
128."""


def border_for(scale: tuple[float, float]) -> tuple[int, int]:
    """Return the border that the protocol crops on each side at a scale: (rows, columns)."""
    return math.ceil(scale[0]), math.ceil(scale[1])


def luma(rgb: UInt8[np.ndarray, "*b 3"]) -> Float64[np.ndarray, "*b"]:
    """Compute the Y of YCbCr, from 16 to 235, not rounded."""
    if rgb.dtype != np.uint8 or rgb.ndim < 1 or rgb.shape[-1] != 3:
        raise ValueError(f"rgb must be uint8 [..., 3], got {rgb.dtype} {rgb.shape}")
    return 16.0 + rgb @ YCBCR[0]


def psnr_y(a: Image, b: Image, border: tuple[int, int] = (0, 0)) -> float:
    """Compute the peak signal-to-noise ratio of the luma, in decibels; infinite for equal images.

    A border of (rows, columns) is left out on each side.

    Raises:
        ValueError: the images are not both uint8 [h, w, 3] of one size.
        UserError: the border leaves no pixel.
    """
    a, b = _cropped(a, b, border)
    return _psnr(luma(a), luma(b))


def psnr_rgb(a: Image, b: Image, border: tuple[int, int] = (0, 0)) -> float:
    """Compute the peak signal-to-noise ratio over the three channels, otherwise like `psnr_y`."""
    a, b = _cropped(a, b, border)
    return _psnr(a.astype(np.float64), b.astype(np.float64))


def ssim_y(a: Image, b: Image, border: tuple[int, int] = (0, 0)) -> float:
    """Compute the structural similarity of the luma, at most 1 (equal images), as `psnr_y` does.

    Windows that reach over the border are left out. If not even one 11 x 11 window fits, SSIM is
    not defined and the value is NaN, so that one tiny image shows in a table without ending it.
    """
    a, b = _cropped(a, b, border)
    return _ssim(luma(a), luma(b), channel_axis=None)


def ssim_rgb(a: Image, b: Image, border: tuple[int, int] = (0, 0)) -> float:
    """Compute the mean structural similarity of the three channels, otherwise like `ssim_y`."""
    a, b = _cropped(a, b, border)
    return _ssim(a.astype(np.float64), b.astype(np.float64), channel_axis=-1)


def mean_psnr(values: Sequence[float]) -> float:
    """Average the PSNR (in decibels) of several images.

    An infinite value counts as `EXACT`, unless all values are infinite: then the mean is, too.
    """
    if all(value == math.inf for value in values):
        return math.inf
    return float(np.mean(np.minimum(values, EXACT)))


def _cropped(a: np.ndarray, b: np.ndarray, border: tuple[int, int]) -> tuple[np.ndarray, ...]:
    for image in (a, b):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(f"images must be uint8 [h, w, 3], got {image.dtype} {image.shape}")
    if a.shape != b.shape:
        raise ValueError(f"images must have one size, got {a.shape} and {b.shape}")
    (height, width), (rows, columns) = a.shape[:2], border
    if rows < 0 or columns < 0:
        raise ValueError(f"border must not be negative, got {border}")
    if height <= 2 * rows or width <= 2 * columns:
        raise UserError(
            f"an image of {height} x {width} pixels has none left without a border of "
            f"{rows} x {columns}; use larger images or a smaller scale"
        )
    window = np.s_[rows : height - rows, columns : width - columns]
    return a[window], b[window]


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    mse = float(np.mean(np.square(a - b)))
    return 10.0 * math.log10(255.0**2 / mse) if mse > 0.0 else math.inf


def _ssim(a: np.ndarray, b: np.ndarray, channel_axis: int | None) -> float:
    if min(a.shape[:2]) < SSIM_WINDOW:
        return math.nan
    check_extra("eval", "SSIM")
    # Imported late because it takes a third of a second, and enlarging pictures needs no metrics.
    from skimage.metrics import structural_similarity

    value = structural_similarity(
        a,
        b,
        data_range=255.0,
        gaussian_weights=True,
        sigma=1.5,
        win_size=SSIM_WINDOW,
        K1=0.01,
        K2=0.03,
        use_sample_covariance=False,
        channel_axis=channel_axis,
    )
    return np.asarray(value).item()
