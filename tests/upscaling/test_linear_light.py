"""Reductions that average light."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.networks import EDSR, FourierField, HalfEDSR, PixelHypernetwork
from hyperfunc.pixels import imresize
from hyperfunc.upscaling import Upscaler
from hyperfunc.values import decode_srgb, encode_srgb

MODEL = PixelHypernetwork(EDSR(8, 1), FourierField(4), branch_scale=0.01)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(MODEL.init)(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_checkerboard_is_as_bright_as_it_looks(variables, dtype, largest):
    """Half of the light is 188 of 255 as sRGB (IEC 61966-2-1)."""
    board = (np.indices((32, 32)).sum(axis=0) % 2 * largest).astype(dtype)
    opaque = np.stack([board] * 3 + [np.full_like(board, largest)], axis=-1)
    expected = {False: 0.5, True: 1.055 * 0.5 ** (1 / 2.4) - 0.055}
    for linear, value in expected.items():
        result = Upscaler(MODEL, variables, linear=linear)(opaque, (8, 8))
        assert result.dtype == dtype and (result[..., 3] == largest).all()
        middle = result[2:-2, 2:-2, :3] / largest
        np.testing.assert_allclose(middle, np.full_like(middle, value), atol=1 / 255)


def test_enlargements_and_floats_are_as_without(variables, draw):
    with_, without = (Upscaler(MODEL, variables, linear=linear) for linear in (True, False))
    image = draw(0, (16, 16))
    for pixels, size in ((image, (32, 32)), (image / np.float32(255), (8, 8))):
        np.testing.assert_array_equal(with_(pixels, size), without(pixels, size))


def test_invisible_colours_leave_no_trace(variables):
    board = np.indices((32, 32)).sum(axis=0) % 2 * 255
    image = np.stack([board] * 4, axis=-1).astype(np.uint8)  # White, and invisible black.
    result = Upscaler(MODEL, variables, linear=True)(image, (8, 8))
    assert (result[..., :3] == 255).all()
    np.testing.assert_allclose(result[2:-2, 2:-2, 3], 128, atol=1)


@pytest.mark.parametrize("wrap", ["", "xy"])
def test_pixels_of_the_own_size_are_averaged(draw, wrap):
    """A model that restores sees stored values, and a tile all that it reads."""
    field = FourierField(4, bandwidth=2.0)
    model = PixelHypernetwork(HalfEDSR(4, 1), field, base="corrected", branch_scale=0.3)
    variables = jax.jit(model.init)(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
    correction = variables["params"]["correction"]
    correction["kernel"] = 0.1 * jax.random.normal(jax.random.key(2), correction["kernel"].shape)
    image = draw(1, (54, 46)).astype(np.uint16) * 257
    options = {"devices": jax.devices()[:1], "largest_tile": 12, "wrap": wrap}
    own = Upscaler(model, variables, **options)(image, (54, 46))
    assert np.abs(own / 65535 - image / 65535).mean() > 0.02
    light = decode_srgb(own / 65535)
    size = (18, 20)
    reduced = imresize(np.pad(light, [(54, 54), (46, 46), (0, 0)], mode="wrap"), (54, 60))
    expected = reduced[18:-18, 20:-20] if wrap else imresize(light, size)
    result = Upscaler(model, variables, linear=True, **options)(image, size) / 65535
    np.testing.assert_allclose(result, encode_srgb(expected), atol=2e-3)
