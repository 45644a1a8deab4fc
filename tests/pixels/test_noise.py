"""The estimate of an image's noise."""

import numpy as np
import pytest

from hyperfunc.pixels import estimate_noise


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("sigma", [5.0, 15.0, 30.0])
def test_white_noise_on_a_smooth_image(sigma, channels):
    """The calmest blocks have a little less; alpha does not count."""
    rows, cols = np.meshgrid(np.arange(300), np.arange(400), indexing="ij")
    image = (100 + 0.1 * rows + 0.1 * cols)[..., None].repeat(channels, axis=-1)
    image = image + np.random.default_rng(0).normal(0, sigma, image.shape)
    if channels in (2, 4):
        image[..., -1] = 255
    levels = image.round().clip(0, 255).astype(np.uint8)
    expected = pytest.approx(0.93 * sigma, rel=0.08)
    assert estimate_noise(levels) == expected
    assert estimate_noise((image / 255).astype(np.float32)) == expected
    assert estimate_noise(levels.astype(np.uint16) * 257) == pytest.approx(estimate_noise(levels))


def test_what_is_no_noise():
    """Edges, a texture on most of the image, and an image that is too small to tell."""
    rng = np.random.default_rng(0)
    image = np.full((256, 256, 3), 90, np.uint8)
    assert estimate_noise(image) == 0
    image[:, 100:180] = 200
    image[40:, ::2] = 30
    assert estimate_noise(image) == 0
    image[:200] = rng.integers(0, 256, (200, 256, 3))
    assert estimate_noise(image) == 0
    assert estimate_noise(rng.integers(0, 256, (31, 200, 3), np.uint8)) == 0
