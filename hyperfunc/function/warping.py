"""Geometry of resampling: which point of the input each output pixel shows, and its footprint.

A *transform* maps points of the output's unit square to points (y, x) of the input's, the inverse
warp of most libraries. Its Jacobian at an output pixel determines which parallelogram of the input
the pixel covers, and over what distance the input must be averaged so that the output does not
alias.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from hyperfunc.pixels import pixel_centres
from hyperfunc.types import Coords, Size

Transform = Callable[[Coords], Coords]
"""Maps points [..., 2] to points [..., 2], each independently; written in JAX."""


def project(matrix: Float[Array, "3 3"], coords: Coords) -> Coords:
    """Apply a homography to points (y, x): matrix times [y, x, 1], divided by its third entry."""
    lifted = coords @ matrix[:, :2].T + matrix[:, 2].reshape(*[1] * (coords.ndim - 1), 3)
    return lifted[..., :2] / lifted[..., 2:]


def from_pixel_matrix(
    matrix: ArrayLike, output_size: Size, input_size: Size
) -> Float[Array, "3 3"]:
    """Turn a homography between pixels (x, y) into one between unit squares (y, x).

    Args:
        matrix: maps [x, y, 1] of the output to [x, y, 1] of the input, in pixels whose centres are
            whole numbers. This is OpenCV's convention with ``WARP_INVERSE_MAP``, and that of
            scikit-image's ``warp(image, inverse_map)``.
        output_size: (height, width) of the output.
        input_size: (height, width) of the input.
    """
    matrix = jnp.asarray(matrix, jnp.float32)
    return _to_unit(input_size) @ matrix @ jnp.linalg.inv(_to_unit(output_size))


def look_up(
    transform: ArrayLike | Transform, output_size: Size, input_size: Size
) -> tuple[Float[Array, "h w 2"], Float[Array, "h w 2"]]:
    """Find the point that each output pixel shows, and its footprint (y, x) in input pixels.

    With the Jacobian J in pixels, an output pixel covers a spot of covariance C = J J^T. The
    footprint is the smallest multiple of sqrt(diag C) whose axis-parallel spot contains that spot
    in every direction. It is exact for scalings and for rotations with equal scaling, where C is
    diagonal. Where a transform shears it averages too much, never too little.

    Raises:
        ValueError: the transform is neither a function nor a 3 x 3 matrix, or the function does
            not map points to points.
    """
    if callable(transform):
        return _look_up(transform, output_size, input_size)
    matrix = jnp.asarray(transform, jnp.float32)
    if matrix.shape != (3, 3):
        raise ValueError(
            f"a transform is a 3 x 3 matrix or a function of points, not an array {matrix.shape}"
        )
    return _look_up_homography(matrix, output_size, input_size)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _look_up_homography(
    matrix: Float[Array, "3 3"], output_size: Size, input_size: Size
) -> tuple[Array, Array]:
    """Apply a matrix, compiled once for all; a user's function would be compiled at each call."""
    return _look_up(functools.partial(project, matrix), output_size, input_size)


def _look_up(transform: Transform, output_size: Size, input_size: Size) -> tuple[Array, Array]:
    centres = pixel_centres(output_size)
    columns = []
    coords = centres
    for axis in range(2):
        direction = jnp.zeros_like(centres).at[..., axis].set(1.0)
        coords, column = jax.jvp(transform, (centres,), (direction,))
        columns.append(column / output_size[axis])
    if coords.shape != centres.shape:
        raise ValueError(f"the transform maps points {centres.shape} to {coords.shape}")
    # Row i of the Jacobian: the derivatives of input axis i along the two axes of the output.
    y, x = (
        jnp.stack([column[..., i] for column in columns], axis=-1) * input_size[i] for i in range(2)
    )
    tiny = 1e-12  # It keeps the square roots differentiable where a transform is constant.
    variance = jnp.stack([(y * y).sum(-1), (x * x).sum(-1)], axis=-1) + tiny
    correlation = jnp.abs((y * x).sum(-1)) / jnp.sqrt(variance[..., 0] * variance[..., 1])
    footprint = jnp.sqrt(variance * (1 + correlation)[..., None])
    return coords, jnp.where(jnp.isfinite(footprint), footprint, 1.0)


def coverage(
    coords: Float[Array, "*points 2"], footprint: Float[Array, "*points 2"], size: Size
) -> Float[Array, "*points"]:
    """Compute which part of each pixel's footprint, a box, lies inside the image, 0 to 1."""
    extent = jnp.asarray(size, jnp.float32).reshape(*[1] * (coords.ndim - 1), 2)
    # On either side of its centre a box extends half its width, or to the border.
    sides = [jnp.minimum(part * extent / footprint, 0.5) for part in (coords, 1 - coords)]
    return jnp.clip(sides[0] + sides[1], 0.0, 1.0).prod(axis=-1)


def _to_unit(size: Size) -> Float[Array, "3 3"]:
    """Map pixels [x, y, 1] with centres at whole numbers to [y, x, 1] in the unit square."""
    height, width = size
    rows = [[0, 1 / height, 0.5 / height], [1 / width, 0, 0.5 / width], [0, 0, 1]]
    return jnp.asarray(np.array(rows), jnp.float32)
