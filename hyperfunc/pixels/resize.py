"""Bicubic resizing as MATLAB's `imresize` does it, and the degradation that the protocol asks for.

Host code: NumPy arrays, `[..., h, w, c]` or `[h, w]`. A `uint8` image has values 0..255 and is
rounded (half up) and clipped after each axis, as MATLAB does; a floating image keeps its range.

Positions are in pixel-edge units: pixel `j` covers `[j, j + 1)` and has its centre at `j + 0.5`,
so that the corners of an image and of its resized version coincide.

Reference: Keys 1981, "Cubic convolution interpolation for digital image processing", Eq. (15);
the antialiasing and the borders follow MATLAB's `imresize`.
"""

import math

import numpy as np
from jaxtyping import Float64, Int64, Num, UInt8

from hyperfunc.errors import UserError
from hyperfunc.pixels.border import mirror_indices

_NEGLIGIBLE = 1e-12
"""Weights below this are rounding noise at a zero of the kernel."""

ROUND_HALF_UP = 0.5 + 1e-6
"""What is added before rounding down. Values this close below k + 0.5 are ties, and ties go up:
without it the rounding noise of the weights would decide, and an image would change with the
position it is cropped at."""


def keys_cubic(x: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Keys' cubic convolution kernel, a = -0.5, zero outside of (-2, 2)."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1.0, near, np.where(x < 2.0, far, 0.0))


def axis_weights(
    n_in: int, n_out: int, *, scale: float | None = None, offset: float = 0.0
) -> tuple[Int64[np.ndarray, "n_out taps"], Float64[np.ndarray, "n_out taps"]]:
    """The input pixels that each output pixel of one axis is made of, and their weights.

    Output pixel `i` is centred at `(i + 0.5 + offset) / scale`. When the axis shrinks, the kernel
    is widened by `1 / scale` (antialiasing). Beyond its borders the input is mirrored, the border
    pixel included.

    Args:
      n_in: number of input pixels, at least 1.
      n_out: number of output pixels, at least 1.
      scale: output pixels per input pixel, positive; `n_out / n_in` if None.
      offset: shift of the output grid, in output pixels.

    Returns:
      Indices in 0..n_in - 1, and weights, each row of which sums to one. Taps that are zero for
      every output pixel are left out.

    Raises:
      ValueError: if a number of pixels is below one or the scale is not a positive number.
    """
    if n_in < 1 or n_out < 1:
        raise ValueError(f"cannot resize {n_in} pixels to {n_out}: both must be at least 1")
    scale = n_out / n_in if scale is None else float(scale)
    if not (0.0 < scale < math.inf):
        raise ValueError(f"scale must be a positive number, got {scale}")

    shrink = min(scale, 1.0)
    support = 4.0 / shrink
    centre = (np.arange(n_out) + 0.5 + offset) / scale - 0.5  # in units of input pixel numbers
    first = np.floor(centre - support / 2.0).astype(np.int64)
    taps = first[:, None] + np.arange(math.ceil(support) + 2)
    weights = keys_cubic(shrink * (centre[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    weights[np.abs(weights) < _NEGLIGIBLE] = 0.0

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
    """Resizes an image like MATLAB's `imresize(image, size, "bicubic")`.

    The axis with the smaller scale goes first, rows first on a tie.

    Args:
      image: `[h, w]` or `[..., h, w, c]`, `uint8` or floating.
      size: (height, width) of the result, in pixels.
      scale: output pixels per input pixel, for (rows, columns); the ratio of the sizes if None.
      offset: shift of the output grid in output pixels, for (rows, columns); see `axis_weights`.

    Returns:
      The resized image, of the type of the given one.

    Raises:
      ValueError: if the image has fewer than two axes or another type, or a size is below one.
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
    """Makes the low-resolution image of the protocol.

    On an axis with an integer scale the high-resolution image is first cropped (bottom, right) to a
    multiple of it. On an axis with any other scale it stays whole, and the low-resolution one has
    `H / scale` pixels, rounded half up; the corners of the two images coincide.

    Args:
      hr: the high-resolution image, 0..255.
      scale: high- per low-resolution pixels, for (rows, columns), at least 1.

    Returns:
      The low-resolution image, and the high-resolution one that it belongs to (a view).

    Raises:
      UserError: if a scale is below 1 or leaves no pixel.
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
    """High-resolution pixels that `degrade_crop` needs on each side, so that it never mirrors.

    The widened kernel reaches `2 * scale` pixels, and the outermost centre lies half a
    low-resolution pixel inside of the crop, from where a phase takes away at most that half.
    """
    return 2 * scale


def degrade_crop(
    hr: UInt8[np.ndarray, "... H W c"],
    scale: int,
    *,
    phase: tuple[float, float] = (0.0, 0.0),
    margin: int | None = None,
) -> UInt8[np.ndarray, "... h w c"]:
    """Makes the low-resolution version of crops, with the grid laid at a real phase.

    The crops are `[h * scale + 2 * margin, w * scale + 2 * margin]`, and low-resolution pixel `i`
    is centred at `margin + (i + 0.5) * scale + phase`. With a phase of zero this is the matching
    crop of `degrade` of the whole image, exactly. A batch shares its phase.

    Args:
      hr: high-resolution crops with their margins, 0..255.
      scale: high- per low-resolution pixels, an integer of at least 1.
      phase: shift of the grid for (rows, columns) in high-resolution pixels, at most half a
        low-resolution pixel (`0.5 * scale`) either way.
      margin: extra high-resolution pixels on each side; `crop_margin(scale)` if None. With fewer
        than that the crop is mirrored at its borders where a pixel is missing.

    Raises:
      ValueError: if the crop is not a multiple of the scale inside its margins, or a phase is
        larger than half a low-resolution pixel.
    """
    margin = crop_margin(scale) if margin is None else margin
    if hr.dtype != np.uint8 or hr.ndim < 3:
        raise ValueError(f"hr must be uint8 [..., h, w, c], got {hr.dtype} {hr.shape}")
    inner = [n - 2 * margin for n in hr.shape[-3:-1]]
    if scale < 1 or margin < 0 or any(n < scale or n % scale for n in inner):
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
    """Replaces one axis by weighted sums along it, in double precision."""
    import scipy.sparse  # Not needed by `hyperfunc upscale`, whose start it would delay.

    # With the axis in front every tap is a contiguous slab, and the product adds them in order.
    slabs = np.ascontiguousarray(np.moveaxis(image, axis, 0)).reshape(image.shape[axis], -1)
    matrix = scipy.sparse.csr_array(
        (weights.ravel(), indices.ravel(), np.arange(0, indices.size + 1, indices.shape[1])),
        shape=(len(indices), len(slabs)),
    )
    total = matrix @ slabs.astype(np.float64)
    if image.dtype == np.uint8:
        total = np.clip(np.floor(total + ROUND_HALF_UP), 0.0, 255.0)
    rest = image.shape[:axis] + image.shape[axis + 1 :]
    return np.moveaxis(total.astype(image.dtype).reshape(len(indices), *rest), 0, axis)
