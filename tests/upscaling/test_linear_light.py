"""Reductions that average light."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork
from hyperfunc.upscaling import Upscaler

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
