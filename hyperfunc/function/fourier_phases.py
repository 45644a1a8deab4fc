"""A Fourier series per pixel at an integer scale: convolutions from features to pixels.

Every cell between four neighbouring pixel centres holds scale x scale samples at the same local
coordinates. So head, basis, windows and base are convolutions, whose kernels are computed from the
parameters.
"""

import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hyperfunc.function.functional_image import FunctionalImage
from hyperfunc.networks import FourierField, lay_out_patches, plain_convolve
from hyperfunc.pixels import cubic_kernel


def render_fourier_phases(
    function: FunctionalImage,
    scale: int,
    phase: Float[Array, " 2"],
    *,
    fast_gradients: bool = False,
) -> Float[Array, "b y x c"]:
    """Render at an integer scale; see `hyperfunc.function.rendering.render_phases`."""
    features, _ = function.theta.factors()
    kernels = fold_phases(function, scale, phase)
    convolve = _convolve_to_train if fast_gradients else plain_convolve
    image = _per_interval(convolve(features, kernels.field, padding=1), scale)
    image = image / _covered_weight(function.exists, kernels.fraction)
    if function.base is not None:
        base = jnp.pad(function.base, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="symmetric")
        kernel = _for_channels(kernels.base, base.shape[-1])
        image = image + _per_interval(plain_convolve(base, kernel, padding=0), scale)
    first = kernels.first
    b, h, w, _, _, c = image.shape
    image = image.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * scale, w * scale, c)
    height, width = (pixels * scale for pixels in function.size)
    return jax.lax.dynamic_slice(image, (0, -first[0], -first[1], 0), (b, height, width, c))


class PhaseKernels(NamedTuple):
    """What `render_fourier_phases` convolves with; q samples per axis lie between two centres."""

    first: Int[Array, " 2"]
    """The first sample of interval 0 on each axis; negative, because it lies outside the image."""
    fraction: Float[Array, "2 q"]
    """Where the samples lie in an interval, [0, 1)."""
    field: Float[Array, "2 2 f n"]
    """From features to q x q x c samples; the sum of the tents is not divided out."""
    base: Float[Array, "4 4 q q"]
    """From each channel of the base to q x q samples."""


def fold_phases(function: FunctionalImage, scale: int, phase: Float[Array, " 2"]) -> PhaseKernels:
    """Compute the kernels for an integer scale from the shared parameters and the head."""
    # The samples of interval j are k = first + j * scale + q, q = 0 ... scale - 1.
    first = jnp.ceil(phase - (scale + 1) / 2).astype(int)
    slots = jnp.arange(scale)
    fraction = (first[:, None] + slots[None] + 0.5 - phase[:, None]) / scale + 0.5
    _, head = function.theta.factors()
    field = _phase_kernel(function, head, fraction, 1.0 / scale)
    if scale == 1:  # At larger scales the share is 1.
        field = function.field_share((1.0, 1.0)) * field
    taps = cubic_kernel(fraction[..., None] + 1 - jnp.arange(4)[None, None])  # [axis, q, tap]
    return PhaseKernels(first, fraction, field, jnp.einsum("yi,xj->ijyx", *taps))


def _phase_kernel(
    function: FunctionalImage, head: Float[Array, "f d c"], t: Float[Array, "2 q"], footprint: float
) -> Float[Array, "2 2 f n"]:
    """Fold head, basis and tents into the 2 x 2 kernel from features to q x q samples."""
    # [axis, q, neighbour]: positions from the left and the right centre, and the tents there.
    rows, cols = jnp.stack([t, t - 1], axis=-1)
    weight = jnp.stack([1 - t, t], axis=-1)
    # [qy, ny, qx, nx, 2]
    coord = jnp.stack(jnp.broadcast_arrays(rows[:, :, None, None], cols[None, None, :, :]), axis=-1)
    target = cast(FourierField, function.target)
    basis = target.basis(function.shared, coord, jnp.full((1, 1, 1, 1, 2), footprint))
    basis = basis * (weight[0][:, :, None, None] * weight[1][None, None])[..., None]
    kernel = jnp.einsum("ymxnd,fdc->mnfyxc", basis, head)
    return kernel.reshape(*kernel.shape[:3], -1)


def _for_channels(kernel: Float[Array, "4 4 q q"], channels: int) -> Float[Array, "4 4 c n"]:
    """Repeat a kernel for every channel, each from itself to itself."""
    repeated = jnp.einsum("ijyx,cd->ijcyxd", kernel, jnp.eye(channels))
    return repeated.reshape(4, 4, channels, -1)


def _per_interval(x: Float[Array, "b i j n"], scale: int) -> Float[Array, "b i j q q c"]:
    """Split channels into the samples of an interval."""
    return x.reshape(*x.shape[:3], scale, scale, -1)


def _covered_weight(exists: tuple[Array, Array], t: Float[Array, "2 q"]) -> Array:
    """Sum the tents of the windows that exist at each sample, [1, i, j, q, q, 1]; 1 inside."""
    totals = []
    for present, fraction in zip(exists, t[:, None], strict=True):
        padded = jnp.pad(present, 1)[:, None]
        total = padded[:-1] * (1 - fraction) + padded[1:] * fraction
        totals.append(jnp.where(total > 1e-6, total, 1.0))
    rows, cols = totals
    return rows[None, :, None, :, None, None] * cols[None, None, :, None, :, None]


def _convolve_to_train(x: Array, kernel: Array, padding: int) -> Array:
    """Convolve with a fast gradient of the kernel."""
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_convolve_as_product, padding=padding),
        default=functools.partial(plain_convolve, padding=padding),
    )


def _convolve_as_product(
    x: Float[Array, "b h w f"], kernel: Float[Array, "m n f o"], padding: int
) -> Array:
    """Convolve by one product of patches laid side by side.

    XLA's gradient of a small kernel with many outputs is slow on CPUs: at scale 4 it takes six
    times as long as this one, at scale 8 sixty times (docs/experiments/cost-and-kernels.md).
    """
    rows, cols, _, outputs = kernel.shape
    patches = lay_out_patches(x, (rows, cols), padding)
    return jnp.einsum("bhwf,fo->bhwo", patches, kernel.reshape(-1, outputs))
