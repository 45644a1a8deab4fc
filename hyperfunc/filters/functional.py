"""A continuous filter applied to a functional image, without pixels in between.

- *In closed form*, where filter and image are Fourier series: the image has one per pixel, blended
  by tents. Both are products of functions of y and of x, so that an integral over the filter's
  square is a sum of products of integrals along the axes, of a linear weight times exp(i kappa t).
  The bicubic base below the series is no Fourier series; it is integrated along each axis with
  `LEGENDRE_NODES` nodes between two kinks, exact to the rounding of float32.
- *By quadrature*, for any other pair: the image is rendered at a pitch h of at most `FOOTPRINT` and
  taken as constant on each of these pixels, with the error that `hyperfunc.filters.kernels` states:
  1 % of the integral of |k| for detail of 2 radians per encoded pixel.
"""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

from hyperfunc.filters.convolution import ContinuousConv, convolve
from hyperfunc.filters.kernels import FourierKernel, Kernel, Pitch
from hyperfunc.function import FunctionalImage, render
from hyperfunc.networks import FourierField
from hyperfunc.pixels import axis_over, cubic_taps, find_cells
from hyperfunc.types import Size, Theta

FOOTPRINT = 0.25
"""The pixel pitch for which the functional image is asked, in pixels of the image that was encoded:
the smallest one for which the models are trained."""

LEGENDRE_NODES = 8
"""Nodes between two neighbouring centres of pixels, for the base."""


def filter_function(
    layer: ContinuousConv,
    variables: Any,
    function: FunctionalImage,
    size: Size,
    pitch: Pitch = (1.0, 1.0),
) -> Float[Array, "b y x features"]:
    """Apply a layer to functional images; the image is zero beyond its border.

    The closed form needs memory for the rows of the result times the columns of windows times the
    frequencies: it is meant for images of up to some hundred pixels a side.

    Args:
        layer: the layer.
        variables: its Flax variables.
        function: a batch of whole images; `hyperfunc.represent` returns one as ``.function``,
            which is without the exact blur of `gaussian`.
        size: (height, width) of the result, which covers the whole image.
        pitch: the distance (y, x) between the pixels of the image that was encoded, in reference
            pixels.

    Returns:
        What the layer gives on an image of infinitely small pixels, at the centres of ``size``
        pixels.
    """
    parameters = variables["params"]
    if isinstance(layer.kernel, FourierKernel) and function.is_field_per_pixel:
        values = _in_closed_form(layer.kernel, parameters["kernel"], function, size, pitch)
    else:
        values = _by_quadrature(layer.kernel, parameters["kernel"], function, size, pitch)
    return values + parameters["bias"].reshape(1, 1, 1, -1)


def _by_quadrature(
    kernel: Kernel, parameters: Theta, function: FunctionalImage, size: Size, pitch: Pitch
) -> Float[Array, "b y x o"]:
    """Render blocks of an odd number of fine pixels around each point of the result."""
    rows, cols = (
        max(2 * math.ceil(n / (2 * m * FOOTPRINT) - 0.5) + 1, 1)
        for n, m in zip(function.size, size, strict=True)
    )
    fine = (size[0] * rows, size[1] * cols)
    step = [p * n / m for p, n, m in zip(pitch, function.size, fine, strict=True)]
    weights = kernel.integrate(parameters, (step[0], step[1]))
    return convolve(render(function, fine), weights, (rows, cols))


def _in_closed_form(
    kernel: FourierKernel,
    coefficients: Float[Array, "m m c o"],
    function: FunctionalImage,
    size: Size,
    pitch: Pitch,
) -> Float[Array, "b y x o"]:
    target = cast(FourierField, function.target)
    axes = [axis_over((0.0, 1.0), size[i], function.size[i]).positions() for i in range(2)]
    rows, cols = (_integrate_fields(kernel, function, i, axes[i], pitch[i]) for i in range(2))
    cells = function.expanded()["coefficients"]
    cells = lax.complex(*target.split_coefficients(cells, axis=-2))
    tall = jnp.einsum("bklfc,ykfm->blfcym", cells, rows, precision="highest")
    moments = jnp.einsum("blfcym,xlfn->byxmnc", tall, cols, precision="highest").real
    if function.base is not None:
        rows, cols = (
            _integrate_base(kernel, function.size[i], axes[i], pitch[i]) for i in range(2)
        )
        moments += jnp.einsum(
            "bklc,ykm,xln->byxmnc", function.base, rows, cols, precision="highest"
        )
    return jnp.einsum("byxmnc,mnco->byxo", moments, coefficients, precision="highest")


def _integrate_fields(
    kernel: FourierKernel,
    function: FunctionalImage,
    axis: int,
    positions: Float[Array, " y"],
    pitch: float | int,
) -> Complex[Array, "y k f m"]:
    """Integrate phi_m times the tent and the exponential f of each window k along one axis.

    A tent has a piece on each side of its centre, on which it is linear: constant beyond the
    outermost centres.
    """
    pixels, target = function.size[axis], cast(FourierField, function.target)
    rising, falling = np.ones(pixels, np.float32), -np.ones(pixels, np.float32)
    rising[0] = falling[-1] = 0.0
    centres, reach = jnp.arange(pixels) + 0.5, kernel.radius / pitch
    omega = jnp.append(function.shared["frequencies"][:, axis], 0.0)
    nu = jnp.asarray(kernel.frequencies * pitch, jnp.float32)
    harmonics = jnp.concatenate([jnp.zeros(1), nu, -nu])
    kappa = omega[:, None] + harmonics[None]
    decay, _ = target.axis_basis(function.shared, axis, jnp.zeros(1), jnp.full(1, FOOTPRINT))

    def at_position(position: Array) -> Complex[Array, "k f m"]:
        def integrate_piece(start: Array, end: Array, slope: np.ndarray) -> Array:
            """Integrate (1 + slope t) exp(i kappa t), where t is the distance from the centre."""
            low = jnp.maximum(start, jnp.maximum(position - reach, 0.0)) - centres
            high = jnp.minimum(end, jnp.minimum(position + reach, pixels)) - centres
            middle, half = (low + high) / 2, jnp.maximum(high - low, 0.0) / 2
            z = jnp.multiply.outer(half, kappa)
            level, tilt = 2 * half * (1 + slope * middle), 2 * jnp.square(half) * slope
            real, imaginary = level[:, None, None] * jnp.sinc(z / jnp.pi), _bessel(z)
            value = lax.complex(real, tilt[:, None, None] * imaginary)
            return value * jnp.exp(1j * jnp.multiply.outer(middle, kappa))

        integral = integrate_piece(centres - 1, centres, rising)
        integral += integrate_piece(centres, centres + 1, falling)
        from_position = jnp.exp(1j * jnp.multiply.outer(centres - position, harmonics))
        constant, plus, minus = jnp.split(
            integral * from_position[:, None] * decay[0][None, :, None],
            (1, 1 + len(nu)),
            axis=-1,
        )
        return jnp.concatenate([constant, (plus + minus) / 2, (plus - minus) / 2j], axis=-1)

    return pitch * jax.vmap(at_position)(positions)


def _bessel(z: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Evaluate the spherical Bessel function j_1(z) = (sin z - z cos z) / z^2."""
    small = jnp.abs(z) < 0.5
    square, safe = jnp.square(z), jnp.where(small, 1.0, z)
    series = z / 3 * (1 - square / 10 * (1 - square / 28 * (1 - square / 54)))
    return jnp.where(small, series, (jnp.sin(safe) / safe - jnp.cos(safe)) / safe)


def _integrate_base(
    kernel: FourierKernel, pixels: int, positions: Float[Array, " y"], pitch: float | int
) -> Float[Array, "y k m"]:
    """Integrate phi_m times the cubic weight of each pixel k of the base along one axis."""
    reach = kernel.radius / pitch
    kinks = jnp.concatenate([jnp.zeros(1), jnp.arange(pixels) + 0.5, jnp.full(1, pixels)])
    nodes, weights = (
        jnp.asarray(x, jnp.float32) for x in np.polynomial.legendre.leggauss(LEGENDRE_NODES)
    )

    def at_position(position: Array) -> Float[Array, "k m"]:
        edges = jnp.clip(kinks, position - reach, position + reach)
        middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
        points = (middle[:, None] + jnp.multiply.outer(half, nodes)).reshape(-1)
        factor = jnp.multiply.outer(half, weights).reshape(-1)
        # A piece out of reach is empty, and may lie beyond the border.
        index, taps = cubic_taps(*find_cells(jnp.clip(points, 0.0, pixels)), pixels, 1.0, 1.0)
        values = kernel.basis((points - position) * pitch) * factor[:, None]
        total = jnp.zeros((pixels, values.shape[-1]))
        return total.at[index].add(taps[..., None] * values[:, None])

    return pitch * jax.vmap(at_position)(positions)
