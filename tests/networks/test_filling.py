"""Missing pixels: how they are filled before a network reads the image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork
from hyperfunc.networks.filling import FILL_RADIUS, SIGMAS, fill_missing


def make_image(share, shape=(2, 20, 23, 3)):
    rng = np.random.default_rng(0)
    image = rng.uniform(size=shape).astype(np.float32)
    return np.where(rng.uniform(size=(*shape[:3], 1)) < share, np.nan, image).astype(np.float32)


def test_a_missing_pixel_is_the_weighted_mean_of_the_known_ones_nearby():
    image = make_image(0.7)
    filled, known = map(np.asarray, fill_missing(image))
    np.testing.assert_array_equal(known[..., 0], ~np.isnan(image[..., 0]))
    np.testing.assert_array_equal(filled[known[..., 0] > 0], image[known[..., 0] > 0])
    for b, y, x in np.argwhere(known[..., 0] == 0)[::20]:
        total, weights = np.zeros(3), 0.0
        for i, j in np.argwhere(known[b, ..., 0] > 0):
            weight = sum(
                s**-4 * np.exp(-((i - y) ** 2 + (j - x) ** 2) / (2 * s * s))
                for s in SIGMAS
                if max(abs(i - y), abs(j - x)) <= min(np.ceil(3 * s), FILL_RADIUS)
            )
            total, weights = total + weight * image[b, i, j], weights + weight
        np.testing.assert_allclose(filled[b, y, x], total / weights, rtol=1e-4)


@pytest.mark.slow
def test_weights_fall_as_the_fourth_power_of_the_distance():
    impulse = np.full((1, 17, 17, 3), np.nan, np.float32)
    impulse[0, 8, 0] = 1.0
    weights = []
    for distance in (1, 2, 4):
        image = impulse.copy()
        image[0, 8, 0], image[0, 8, distance] = 1.0, 0.0
        filled = np.asarray(fill_missing(image)[0])[0, 8, 2 * distance, 0]
        weights.append(filled / (1 - filled))  # At distance 2 d, over that at d.
    np.testing.assert_allclose(weights, 2.0**-4, rtol=0.5)


def test_where_nothing_is_known_nearby_there_is_grey():
    image = np.full((1, 9, 30, 3), np.nan, np.float32)
    image[:, :, 0] = 0.9
    filled = np.asarray(fill_missing(image)[0])
    np.testing.assert_allclose(filled[:, :, : FILL_RADIUS + 1], 0.9, rtol=1e-5)
    np.testing.assert_array_equal(filled[:, :, FILL_RADIUS + 1 :], 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_base_is_the_known_pixels_and_gradients_are_finite(share):
    """Whatever is missing; and what a missing pixel holds has no influence."""
    model = PixelHypernetwork(EDSR(4, 1), FourierField(2), base="filled")
    image = make_image(share)
    variables = model.init(jax.random.key(0), image)
    correction = variables["params"]["correction"]
    correction["kernel"] = jax.random.normal(jax.random.key(1), correction["kernel"].shape)
    _, _, base = model.apply(variables, image)
    known = ~np.isnan(image)
    np.testing.assert_array_equal(np.asarray(base)[known], image[known])
    if share:
        filled = np.asarray(fill_missing(image)[0])
        assert np.abs(np.asarray(base) - filled)[~known].mean() > 0.01

    def loss(variables):
        theta, _, base = model.apply(variables, image)
        return jnp.square(base).mean() + sum(map(jnp.sum, jax.tree.leaves(theta.parameters)))

    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.grad(loss)(variables)))
