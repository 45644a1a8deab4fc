"""The disagreement of windows: what constant networks give, and that points and batches agree."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.function import FunctionalImage, in_strips, measure_disagreement
from hyperfunc.networks import FourierField, PlainTheta
from hyperfunc.pixels import PER_PIXEL, WHOLE_IMAGE, WindowLayout

TARGET = FourierField(frequencies=2, channels=3)
POINTS = jnp.array([[0.5, 0.3], [0.2, 0.5], [0.9, 0.55], [0.0, 1.0], [0.61, 0.47]])


def of_constants(constants: np.ndarray, layout: WindowLayout, size) -> FunctionalImage:
    """An image whose networks are constants, [window rows, window columns, 3]."""
    coefficients = np.zeros((1, *constants.shape[:2], TARGET.basis_size, 3), np.float32)
    coefficients[0, :, :, -1] = constants
    return FunctionalImage(
        theta=PlainTheta({"coefficients": jnp.asarray(coefficients)}),
        shared=TARGET.init(jax.random.key(0))[1],
        base=None,
        exists=(jnp.ones(constants.shape[0]), jnp.ones(constants.shape[1])),
        target=TARGET,
        layout=layout,
        size=size,
    )


def measure(function: FunctionalImage, points=POINTS, pitch: float = 0.5) -> np.ndarray:
    return np.asarray(measure_disagreement(function, points, jnp.full(points.shape, pitch)))


def test_two_constant_networks_in_closed_form() -> None:
    """One row of two pixels, a network for each: the weights along x are 1 - t and t."""
    low, high = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.1, 0.3])
    function = of_constants(np.stack([low, high])[None], PER_PIXEL, (1, 2))
    difference = np.sqrt(np.square(high - low).mean())
    for x in (0.25, 0.3, 0.5, 0.62, 0.75, 1.0):
        # The centres of the pixels are half of the image apart; t = 0 at the left one.
        t = np.clip(2 * x - 0.5 + np.array([-0.25, 0.25]), 0, 1)
        expected = difference * np.sqrt((t * (1 - t)).mean())
        value = measure(function, jnp.array([[0.5, x]]))[0]
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_wider_windows_in_closed_form() -> None:
    """Boxes of four pixels with a stride of two: four networks have equal weights inside."""
    layout = WindowLayout(4, 2, 1.0, "box")
    constants = np.random.default_rng(0).uniform(size=(4, 4, 3)).astype(np.float32)
    function = of_constants(constants, layout, (8, 8))
    # Windows start at -1, 1, 3, 5. A quarter of a stride around (4, 2), in pixels, there are the
    # second and the third in y, and the first and the second in x.
    four = constants[1:3, :2].reshape(4, 3)
    expected = np.sqrt(four.var(axis=0).mean())
    value = measure(function, jnp.array([[4 / 8, 2 / 8]]))[0]
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("layout", [PER_PIXEL, WindowLayout(4, 2, 1.0)], ids=str)
def test_equal_networks_agree(layout: WindowLayout) -> None:
    size = (6, 8)
    constants = np.broadcast_to(np.array([0.3, 0.1, 0.7], np.float32), (*layout.grid(size), 3))
    np.testing.assert_allclose(measure(of_constants(constants, layout, size)), 0, atol=1e-7)


def test_follows_values_but_not_their_mean() -> None:
    """It is linear in the contrast, and adding to all networks or to the base changes nothing."""
    constants = np.random.default_rng(1).uniform(size=(6, 8, 3)).astype(np.float32)
    function = of_constants(constants, PER_PIXEL, (6, 8))
    deviation = measure(function)
    assert (deviation[[0, 1, 2, 4]] > 0.01).all()  # The other point is a corner.
    for changed, factor in ((2 * constants, 2), (constants + 1, 1)):
        values = measure(of_constants(changed, PER_PIXEL, (6, 8)))
        np.testing.assert_allclose(values, factor * deviation, rtol=1e-4)
    base = jax.random.uniform(jax.random.key(0), (1, 6, 8, 3))
    with_base = dataclasses.replace(function, base=base)
    np.testing.assert_allclose(measure(with_base), deviation, rtol=1e-6)
    # Where an output pixel covers several windows, they fade out, and so does their deviation.
    share = with_base.field_share((1.2, 1.2))
    np.testing.assert_allclose(measure(with_base, pitch=1.2), share * deviation, rtol=1e-5)


def test_batches_equal_the_whole(monkeypatch) -> None:
    constants = np.random.default_rng(2).uniform(size=(6, 8, 3)).astype(np.float32)
    function = of_constants(constants, PER_PIXEL, (6, 8))
    points = jax.random.uniform(jax.random.key(0), (45, 2))
    whole = measure(function, points)
    monkeypatch.setattr(in_strips, "points_at_once", lambda *_: 64)
    in_strips.measure_disagreement.clear_cache()
    np.testing.assert_allclose(measure(function, points), whole, atol=1e-7)
    in_strips.measure_disagreement.clear_cache()


def test_derivatives_are_finite_where_networks_agree() -> None:
    function = of_constants(np.zeros((6, 8, 3), np.float32), PER_PIXEL, (6, 8))
    slope = jax.grad(lambda points: measure_disagreement(function, points, points * 0).sum())
    assert np.isfinite(slope(POINTS)).all()


def test_refuses_windows_that_do_not_overlap() -> None:
    for layout in (WHOLE_IMAGE, WindowLayout(2, 2, 0.0, "box")):
        constants = np.zeros((*layout.grid((6, 8)), 3), np.float32)
        with pytest.raises(ValueError, match="no two windows.*overlap.*6 x 8.*another checkpoint"):
            measure(of_constants(constants, layout, (6, 8)))
