"""A continuous filter gives one answer at any sampling, an ordinary convolution's at its own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from hyperfunc.filters import ContinuousConv, FourierKernel, NetworkKernel
from hyperfunc.networks import CosineMLP

PITCHES = [(1.0, 1.0), (0.5, 0.5), (2.0, 2.0), (0.5, 1.0), (1 / 3, 0.8)]
KERNELS = [
    FourierKernel(),
    FourierKernel(radius=2.5, harmonics=2),
    NetworkKernel(target=CosineMLP((8,), channels=3, output="linear", frequency=3.0)),
]
EXTENT = 16.0
"""Side of the test images, in reference pixels."""


def wave(frequency, pitch):
    """Sample a cosine at the centres of pixels; return it and the centres' coordinates."""
    y, x = ((np.arange(round(EXTENT / p)) + 0.5) * p for p in pitch)
    phase = frequency[0] * y[:, None] + frequency[1] * x[None, :] + 0.4
    return jnp.asarray(np.cos(phase)[None, :, :, None], jnp.float32), (y, x)


def filter_wave(layer, variables, frequency, points):
    """Integrate kernel times cosine: the kernel's weights at a pitch of 1/32 stand for it."""
    fine = 1 / 32
    weights = np.asarray(
        layer.kernel.integrate(variables["params"]["kernel"], (fine, fine)), np.float64
    )[:, :, 0]
    offsets = (np.arange(len(weights)) - len(weights) // 2) * fine
    phase = frequency[0] * offsets[:, None] + frequency[1] * offsets[None, :]
    response = np.einsum("yx,yxo->o", np.exp(1j * phase), weights)
    y, x = points
    here = np.exp(1j * (frequency[0] * y[:, None] + frequency[1] * x[None, :] + 0.4))
    return (here[..., None] * response).real


def draw(kernel, features=2, channels=1):
    layer = ContinuousConv(features, kernel)
    return layer, layer.init(jax.random.key(0), jnp.zeros((1, 8, 8, channels)))


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{type(k).__name__}-{k.radius}")
@pytest.mark.parametrize("pitch", PITCHES, ids=str)
def test_the_answer_does_not_depend_on_the_sampling(kernel, pitch):
    """Pixels as constants cost about (w h)^2 / 24 of the integral of |k| for each axis."""
    layer, variables = draw(kernel)
    frequency = (0.5, 0.3)
    image, points = wave(frequency, pitch)
    margin = [int(np.ceil((kernel.radius + p) / p)) for p in pitch]
    inside = np.s_[margin[0] : -margin[0], margin[1] : -margin[1]]
    error = layer.apply(variables, image, pitch)[0] - filter_wave(
        layer, variables, frequency, points
    )
    parameters = variables["params"]["kernel"]
    mass = jnp.abs(kernel.integrate(parameters, (0.25, 0.25))).sum((0, 1)).max()
    bound = sum((w * h) ** 2 / 24 for w, h in zip(frequency, pitch, strict=True)) * mass
    assert np.abs(error[inside]).max() < 3 * bound


@pytest.mark.parametrize("size", [3, 5])
def test_at_the_reference_pitch_it_is_an_ordinary_convolution(size):
    ordinary = nn.Conv(4, (size, size))
    image = jax.random.normal(jax.random.key(1), (2, 9, 7, 3))
    variables = ordinary.init(jax.random.key(2), image)
    kernel = FourierKernel(size / 2, size // 2)
    params = {
        "kernel": kernel.fit(variables["params"]["kernel"]),
        "bias": variables["params"]["bias"],
    }
    ours = ContinuousConv(4, kernel).apply({"params": params}, image)
    np.testing.assert_allclose(ours, ordinary.apply(variables, image), atol=2e-5)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{type(k).__name__}-{k.radius}")
def test_a_pixel_has_the_weight_of_its_parts(kernel):
    _, variables = draw(kernel)
    whole, parts = (
        kernel.integrate(variables["params"]["kernel"], pitch) for pitch in [(1, 1), (1 / 3, 1)]
    )
    assert parts.shape[0] == 3 * len(whole)
    summed = parts.reshape(len(whole), 3, *parts.shape[1:]).sum(axis=1)
    np.testing.assert_allclose(summed, whole, atol=1e-4 if "Net" in type(kernel).__name__ else 1e-6)


def test_the_series_is_what_is_integrated():
    kernel = FourierKernel(radius=1.0, harmonics=2)
    weights = kernel.integrate(jax.random.normal(jax.random.key(0), (5, 5, 1, 1)), (0.05, 0.05))
    offsets = (jnp.arange(len(weights)) - len(weights) // 2)[1:-1] * 0.05
    basis = kernel.basis(offsets)
    coefficients = jax.random.normal(jax.random.key(0), (5, 5))
    values = basis @ coefficients @ basis.T * 0.05**2
    np.testing.assert_allclose(weights[1:-1, 1:-1, 0, 0], values, atol=2e-4)


@pytest.mark.parametrize("kernel", [KERNELS[0], KERNELS[2]], ids=lambda k: type(k).__name__)
def test_it_is_equivariant_to_shifts(kernel):
    layer, variables = draw(kernel)
    image = jax.random.normal(jax.random.key(1), (1, 6, 6, 1))
    image = jnp.pad(image, [(0, 0), (9, 9), (9, 9), (0, 0)])
    moved = jnp.roll(image, (3, -2), axis=(1, 2))  # Of half and of one reference pixel.
    pitch = (0.5, 1.0)
    np.testing.assert_allclose(
        layer.apply(variables, moved, pitch),
        jnp.roll(layer.apply(variables, image, pitch), (3, -2), axis=(1, 2)),
        atol=1e-6,
    )


@pytest.mark.parametrize("kernel", [KERNELS[0], KERNELS[2]], ids=lambda k: type(k).__name__)
def test_gradients(kernel):
    layer, variables = draw(kernel)
    image = jax.random.normal(jax.random.key(1), (1, 5, 4, 1))

    def loss(variables, image):
        return jnp.square(layer.apply(variables, image, (0.7, 1.3))).sum()

    check_grads(jax.jit(loss), (variables, image), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("pitch", [0.0, -1.0, float("inf")])
def test_a_pitch_that_is_none_is_refused(pitch):
    layer, variables = draw(FourierKernel())
    with pytest.raises(ValueError, match="give a positive number"):
        layer.apply(variables, jnp.zeros((1, 4, 4, 1)), (1.0, pitch))


def test_a_radius_that_is_none_is_refused():
    for kind in (FourierKernel, NetworkKernel):
        with pytest.raises(ValueError, match="radius -1"):
            kind(radius=-1)
