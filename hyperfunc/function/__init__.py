"""An image as a continuous function: from pixels to theta, and from theta to values anywhere.

`encode` is the only way in; `render`, `render_grid`, `render_phases` and `sample` are the ways out.
`predict` goes from images to images with any model.
"""

from hyperfunc.function.blur import blur_coefficients
from hyperfunc.function.calculus import derivative
from hyperfunc.function.fourier_phases import fold_phases
from hyperfunc.function.functional_image import (
    Fade,
    FunctionalImage,
    cut_windows,
    encode,
    mirror_beyond,
)
from hyperfunc.function.in_strips import (
    bound_footprint,
    differentiate_grid,
    evaluate_points,
    measure_disagreement,
    render_light,
    render_part,
)
from hyperfunc.function.predicting import batch_statistics, predict
from hyperfunc.function.rendering import render, render_grid, render_phases, sample
from hyperfunc.function.warping import Transform, coverage, from_pixel_matrix, look_up

__all__ = [
    "Fade",
    "FunctionalImage",
    "Transform",
    "batch_statistics",
    "blur_coefficients",
    "bound_footprint",
    "coverage",
    "cut_windows",
    "derivative",
    "differentiate_grid",
    "encode",
    "evaluate_points",
    "fold_phases",
    "from_pixel_matrix",
    "look_up",
    "measure_disagreement",
    "mirror_beyond",
    "predict",
    "render",
    "render_grid",
    "render_light",
    "render_part",
    "render_phases",
    "sample",
]
