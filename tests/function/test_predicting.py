"""From images to images of another size: one function for every model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.function import encode, predict, render, sample
from hyperfunc.networks import EDSR, RDN, SRCNN, FourierField, PixelHypernetwork, RDNUpscaler
from hyperfunc.pixels import pixel_centres

BYTES = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), np.uint8)
IMAGES = BYTES.astype(np.float32) / 255
HYPERNETWORK = PixelHypernetwork(EDSR(4, 1), FourierField(3, bandwidth=2.0), branch_scale=1.0)
BASELINES = [SRCNN(3, (4, 5)), RDNUpscaler(RDN(4, 1, 2, 3), 3)]


@pytest.fixture(scope="module")
def variables():
    return jax.jit(HYPERNETWORK.init)(jax.random.key(0), IMAGES)


@pytest.mark.parametrize("size", [(12, 10), (13, 11), (3, 4)])
def test_a_hypernetwork_predicts_what_its_function_renders(variables, size):
    function, _ = jax.jit(functools.partial(encode, HYPERNETWORK))(variables, IMAGES)
    expected = jax.jit(render, static_argnums=1)(function, size)
    for images in (IMAGES, BYTES):
        predicted = jax.jit(lambda v, x: predict(HYPERNETWORK, v, x, size))(variables, images)
        np.testing.assert_allclose(predicted, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(12, 10), (13, 11)])
def test_a_phase_shifts_the_grid_by_output_pixels(variables, size):
    function, _ = jax.jit(functools.partial(encode, HYPERNETWORK))(variables, IMAGES)
    phase = jnp.array([0.4, -0.3])
    points = pixel_centres(size) - phase[None, None] / jnp.array(size)[None, None]
    footprint = (IMAGES.shape[1] / size[0], IMAGES.shape[2] / size[1])
    expected = jax.jit(lambda f, x: sample(f, x, footprint=footprint))(function, points)
    predicted = jax.jit(lambda v, x, p: predict(HYPERNETWORK, v, x, size, phase=p))(
        variables, IMAGES, phase
    )
    np.testing.assert_allclose(predicted, expected, atol=1e-4)


@pytest.mark.parametrize("model", BASELINES, ids=lambda model: type(model).__name__)
def test_a_baseline_predicts_only_its_own_scale(model):
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    predicted = jax.jit(lambda v, x: predict(model, v, x, (18, 15)))(variables, BYTES)
    np.testing.assert_allclose(predicted, jax.jit(model.apply)(variables, IMAGES), atol=1e-5)
    with pytest.raises(ValueError, match="for scale 3 cannot turn 6 x 5 .* ask for 18 x 15"):
        predict(model, variables, jnp.asarray(IMAGES), (12, 10))
