"""Images whose opposite sides meet: the output has no seam, wherever the image begins."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.errors import UserError
from hyperfunc.networks import (
    EDSR,
    CosineMLP,
    FourierField,
    HalfEDSR,
    PatchHypernetwork,
    PixelHypernetwork,
)
from hyperfunc.pixels import WindowLayout
from hyperfunc.upscaling import Upscaler, tile_planner
from hyperfunc.upscaling.wrapping import check_wrap

MODEL = PixelHypernetwork(EDSR(8, 1), FourierField(4, bandwidth=2.0), branch_scale=1.0)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(MODEL.init)(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize(
    ("size", "roll", "wrap"),
    [
        ((60, 48), (7, 5), "xy"),
        ((60, 48), (0, 5), "x"),
        ((45, 24), (2, 0), "y"),  # 1.5 and 1.
        ((31, 61), (30, 24), "xy"),  # Only whole turns are whole pixels of the output.
        ((10, 8), (6, 9), "xy"),  # Reduced.
    ],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_rolling_the_input_rolls_the_output(variables, monkeypatch, size, roll, wrap, channels):
    monkeypatch.setattr(tile_planner, "choose_largest_tile", lambda devices: 8)
    image = np.random.default_rng(0).integers(0, 256, (30, 24, channels)).astype(np.uint8)
    upscale = Upscaler(MODEL, variables, devices=jax.devices()[:2], wrap=wrap)
    shifts = [k * n // m for k, n, m in zip(roll, size, image.shape, strict=False)]
    result = upscale(image, size).astype(int)
    rolled = upscale(np.roll(image, roll, (0, 1)), size)
    assert result.shape == (*size, channels)
    assert np.abs(rolled - np.roll(result, shifts, (0, 1))).max() <= 1


@pytest.mark.parametrize("wrap", ["", "xy"])
def test_the_seam_is_no_larger_than_other_steps(wrap):
    model = dataclasses.replace(MODEL, branch_scale=0.001)  # Nearly bicubic, hence smooth.
    variables = model.init(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
    y, x = np.meshgrid(*[np.arange(16) / 16 * 2 * np.pi] * 2, indexing="ij")
    waves = [np.sin(y + x), np.cos(x - y), np.sin(y) * np.cos(x)]
    image = np.round(128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
    result = Upscaler(model, variables, wrap=wrap)(image, (64, 64)).astype(int)
    for axis in range(2):
        steps = np.abs(np.roll(result, 1, axis) - result).max(axis=(1 - axis, 2))
        # Without it, the seam is larger than all others.
        assert (steps[0] <= steps[1:].max()) == (wrap == "xy")


@pytest.mark.slow
def test_a_model_of_windows_cannot_wrap():
    model = PatchHypernetwork(EDSR(4, 0), CosineMLP(hidden=(4,)), WindowLayout(8, 4), pool=2)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    with pytest.raises(UserError, match="cannot wrap"):
        Upscaler(model, variables, wrap="x")


@pytest.mark.parametrize("wrap", ["z", "yx", "xyz"])
def test_other_axes_are_refused(wrap):
    """An `Upscaler` refuses them; the tests check the types of its arguments first."""
    with pytest.raises(ValueError, match=wrap):
        check_wrap(wrap)


def test_squares_that_a_trunk_folds_lie_as_without_wrapping():
    model = PixelHypernetwork(
        HalfEDSR(4, 1), FourierField(4, bandwidth=2.0), base="corrected", branch_scale=0.3
    )
    variables = jax.jit(model.init)(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
    upscalers = [Upscaler(model, variables, wrap=wrap) for wrap in ("", "xy")]
    image = np.random.default_rng(0).integers(0, 256, (80, 80, 3)).astype(np.uint8)
    without, with_ = (upscale(image, (160, 160)).astype(int) for upscale in upscalers)
    assert np.abs(without - with_)[60:-60, 60:-60].max() <= 1 and (without != with_).any()
    planner = upscalers[1]._planner
    assert planner.plan((80, 80), (160, 160), 1).padding[0] % 2 == 0
