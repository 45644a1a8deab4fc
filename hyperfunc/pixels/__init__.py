"""The conventions and the mathematics of pixels: coordinates, windows, resampling, metrics.

Everything here is a function of arrays, positions and sizes; networks are unknown.
"""

from hyperfunc.pixels.coords import (
    Axis,
    Samples,
    axis_over,
    choose_size,
    enlarge,
    find_cells,
    find_lines,
    integer_scale,
    is_reflected,
    mirror_indices,
    mirrored,
    parse_scale,
    pixel_centres,
    split_positions,
    to_positions,
)
from hyperfunc.pixels.interpolation import cubic_taps, interpolate_grid, interpolate_points
from hyperfunc.pixels.metrics import (
    EXACT,
    YCBCR,
    border_for,
    luma,
    mean_psnr,
    psnr_rgb,
    psnr_y,
    ssim_rgb,
    ssim_y,
)
from hyperfunc.pixels.noise import estimate_noise
from hyperfunc.pixels.overshoot import OVERSHOOT
from hyperfunc.pixels.resize import (
    axis_weights,
    crop_margin,
    cubic_kernel,
    degrade,
    degrade_crop,
    imresize,
)
from hyperfunc.pixels.windows import (
    PER_PIXEL,
    WHOLE_IMAGE,
    Cover,
    WindowAxis,
    WindowLayout,
)

__all__ = [
    "Axis",
    "Cover",
    "EXACT",
    "OVERSHOOT",
    "PER_PIXEL",
    "Samples",
    "WHOLE_IMAGE",
    "WindowAxis",
    "WindowLayout",
    "YCBCR",
    "axis_over",
    "axis_weights",
    "border_for",
    "choose_size",
    "crop_margin",
    "cubic_kernel",
    "cubic_taps",
    "degrade",
    "degrade_crop",
    "enlarge",
    "estimate_noise",
    "find_cells",
    "find_lines",
    "imresize",
    "integer_scale",
    "interpolate_grid",
    "interpolate_points",
    "is_reflected",
    "luma",
    "mean_psnr",
    "mirror_indices",
    "mirrored",
    "parse_scale",
    "pixel_centres",
    "psnr_rgb",
    "psnr_y",
    "split_positions",
    "ssim_rgb",
    "ssim_y",
    "to_positions",
]
