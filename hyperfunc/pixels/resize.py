"""Bicubic resizing as MATLAB's `imresize` does it, and the degradation of the protocol.

Host code on NumPy arrays [..., h, w, c] or [h, w]. A uint8 image has values from 0 to 255; after
each axis it is rounded half up and clipped, as in MATLAB. A floating image keeps its range.

Pixel j covers [j, j + 1) and has its centre at j + 0.5, so that the corners of an image and of its
resized version coincide. Beyond its border an image is mirrored.

Reference: Keys 1981, "Cubic convolution interpolation for digital image processing", Eq. (15);
antialiasing and border follow MATLAB's `imresize`.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Num, UInt8

from hyperfunc.errors import UserError
from hyperfunc.pixels.coords import mirror_indices
from hyperfunc.values import round_levels

_NEGLIGIBLE_WEIGHT = 1e-12
"""Smaller weights are rounding errors at a zero of the kernel."""


def cubic_kernel(distance: Any) -> Any:
    """Evaluate Keys' cubic kernel (a = -0.5) at distances in pixels; it is zero outside (-2, 2)."""
    xp = distance.__array_namespace__()
    x = xp.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return xp.where(x <= 1, near, xp.where(x < 2, far, 0.0))


def axis_weights(
    n_in: int, n_out: int, *, scale: float | None = None, offset: float = 0.0
) -> tuple[Int64[np.ndarray, "n_out taps"], Float64[np.ndarray, "n_out taps"]]:
    """Find the input pixels that each output pixel of one axis combines, and their weights.

    Output pixel i is centred at (i + 0.5 + offset) / scale. If the axis shrinks, the kernel is
    widened by 1 / scale (antialiasing).

    Args:
        n_in: number of input pixels, at least 1.
        n_out: number of output pixels, at least 1.
        scale: output pixels per input pixel, positive; n_out / n_in if not given.
        offset: shift of the output grid, in output pixels.

    Returns:
        Indices from 0 to n_in - 1, and weights, each row of which sums to one. Taps that are zero
        for every output pixel are left out.

    Raises:
        ValueError: a number of pixels is below one, or the scale is not a positive number.
    """
    if n_in < 1 or n_out < 1:
        raise ValueError(f"cannot resize {n_in} pixels to {n_out}: both must be at least 1")
    scale = n_out / n_in if scale is None else float(scale)
    if not (0.0 < scale < math.inf):
        raise ValueError(f"scale must be a positive number, got {scale}")

    shrink = min(scale, 1.0)
    support = 4.0 / shrink
    centre = (np.arange(n_out) + 0.5 + offset) / scale - 0.5  # Here pixel j is centred at j.
    first = np.floor(centre - support / 2.0).astype(np.int64)
    taps = first[:, None] + np.arange(math.ceil(support) + 2)
    weights = cubic_kernel(shrink * (centre[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    weights[np.abs(weights) < _NEGLIGIBLE_WEIGHT] = 0.0

    indices = mirror_indices(taps, n_in)
    used = weights.any(axis=0)
    return indices[:, used], weights[:, used]


def imresize(
    image: Num[np.ndarray, "..."],
    size: tuple[int, int],
    *,
    scale: tuple[float, float] | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Num[np.ndarray, "..."]:
    """Resize an image like MATLAB's `imresize(image, size, "bicubic")`.

    The axis with the smaller scale is resized first; rows if the scales are equal.

    Args:
        image: [h, w] or [..., h, w, c], uint8 or floating.
        size: (height, width) of the result, in pixels.
        scale: output pixels per input pixel, (rows, columns); the ratio of the sizes if not given.
        offset: shift of the output grid in output pixels, (rows, columns); see `axis_weights`.

    Raises:
        ValueError: the image has fewer than two axes or another type, or a size is below one.
    """
    if image.ndim < 2:
        raise ValueError(f"an image is [h, w] or [..., h, w, c], got shape {image.shape}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"an image is uint8 or floating, got {image.dtype}")
    rows = 0 if image.ndim == 2 else image.ndim - 3
    n_in = image.shape[rows : rows + 2]
    scale = scale or (size[0] / n_in[0], size[1] / n_in[1])
    for axis in (0, 1) if scale[0] <= scale[1] else (1, 0):
        indices, weights = axis_weights(
            n_in[axis], size[axis], scale=scale[axis], offset=offset[axis]
        )
        image = _resample(image, rows + axis, indices, weights)
    return image


def degrade(
    hr: UInt8[np.ndarray, "H W c"], scale: tuple[float, float]
) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "H2 W2 c"]]:
    """Make the low-resolution image of the evaluation protocol.

    On an axis with an integer scale, the high-resolution image is first cropped to a multiple of
    the scale, at the bottom and the right. On an axis with any other scale it stays whole, the
    low-resolution image has H / scale pixels, rounded half up, and the corners coincide.

    Args:
        hr: the high-resolution image.
        scale: high- per low-resolution pixels, (rows, columns), at least 1.

    Returns:
        The low-resolution image, and the high-resolution image that it belongs to (a view).

    Raises:
        UserError: a scale is below 1 or leaves no pixel.
    """
    if hr.dtype != np.uint8 or hr.ndim != 3:
        raise ValueError(f"hr must be uint8 [h, w, c], got {hr.dtype} {hr.shape}")
    lr_size, hr_size = [], []
    for n, axis_scale in zip(hr.shape[:2], scale, strict=True):
        if not (1.0 <= axis_scale < math.inf):
            raise UserError(f"scale {axis_scale:g} cannot be used; give a number of at least 1")
        is_integer = float(axis_scale).is_integer()
        n_lr = int(n // axis_scale) if is_integer else math.floor(n / axis_scale + 0.5)
        if n_lr < 1:
            raise UserError(
                f"an image of {hr.shape[0]} x {hr.shape[1]} pixels is too small for a scale of "
                f"{axis_scale:g}; use larger images or a smaller scale"
            )
        lr_size.append(n_lr)
        hr_size.append(n_lr * int(axis_scale) if is_integer else n)
    hr = hr[: hr_size[0], : hr_size[1]]
    return imresize(hr, (lr_size[0], lr_size[1])), hr


def crop_margin(scale: int) -> int:
    """Return how many high-resolution pixels `degrade_crop` needs on each side of a crop.

    With them it never mirrors. The widened kernel reaches 2 * scale pixels. The outermost centre
    lies half a low-resolution pixel inside the crop, and a phase moves it outwards by at most that.
    """
    return 2 * scale


def degrade_crop(
    hr: UInt8[np.ndarray, "... H W c"], scale: int, *, phase: tuple[float, float] = (0.0, 0.0)
) -> UInt8[np.ndarray, "... h w c"]:
    """Make the low-resolution version of crops, with the grid shifted by a real phase.

    The crops have h * scale by w * scale pixels, and a margin of `crop_margin` on each side.
    Low-resolution pixel i is centred at margin + (i + 0.5) * scale + phase. At phase zero the
    result is exactly the matching crop of `degrade` of the whole image.

    Args:
        hr: high-resolution crops with their margins.
        scale: high- per low-resolution pixels, an integer of at least 1.
        phase: shift of the grid in high-resolution pixels, (rows, columns), at most half a
            low-resolution pixel (0.5 * scale) in either direction.

    Raises:
        ValueError: the crop within its margins is not a multiple of the scale, or a phase is
            larger than half a low-resolution pixel.
    """
    margin = crop_margin(scale)
    if hr.dtype != np.uint8 or hr.ndim < 3:
        raise ValueError(f"hr must be uint8 [..., h, w, c], got {hr.dtype} {hr.shape}")
    inner = [n - 2 * margin for n in hr.shape[-3:-1]]
    if scale < 1 or any(n < scale or n % scale for n in inner):
        raise ValueError(
            f"a crop of shape {hr.shape} less a margin of {margin} on each side is not a positive "
            f"multiple of the scale {scale}"
        )
    if max(abs(p) for p in phase) > 0.5 * scale:
        raise ValueError(f"phase {phase} is beyond half a low-resolution pixel, {0.5 * scale:g}")
    return imresize(
        hr,
        (inner[0] // scale, inner[1] // scale),
        scale=(1.0 / scale, 1.0 / scale),
        offset=((margin + phase[0]) / scale, (margin + phase[1]) / scale),
    )


def _resample(
    image: Num[np.ndarray, "..."],
    axis: int,
    indices: Int64[np.ndarray, "n_out taps"],
    weights: Float64[np.ndarray, "n_out taps"],
) -> Num[np.ndarray, "..."]:
    """Replace one axis by weighted sums along it, in double precision."""
    import scipy.sparse  # `hyperfunc upscale` starts without it.

    # With the axis in front every tap is a contiguous slab, and the product adds them in order.
    slabs = np.ascontiguousarray(np.moveaxis(image, axis, 0)).reshape(image.shape[axis], -1)
    matrix = scipy.sparse.csr_array(
        (weights.ravel(), indices.ravel(), np.arange(0, indices.size + 1, indices.shape[1])),
        shape=(len(indices), len(slabs)),
    )
    total = matrix @ slabs.astype(np.float64)
    if image.dtype == np.uint8:
        total = round_levels(total)
    rest = image.shape[:axis] + image.shape[axis + 1 :]
    return np.moveaxis(total.astype(image.dtype).reshape(len(indices), *rest), 0, axis)
