"""PSNR and SSIM against closed forms and an SSIM written out with SciPy's convolution."""

import inspect
import math

import numpy as np
import pytest
from scipy.signal import convolve2d

from hyperfunc.errors import UserError
from hyperfunc.pixels import border_for, luma, psnr_rgb, psnr_y, ssim_rgb, ssim_y


def noise(*shape, seed=0):
    """Draw random pixels."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def slow_ssim(a, b):
    """Compute Wang et al. 2004, Eq. (13), over windows inside the image."""
    g = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = np.outer(g, g) / np.sum(np.outer(g, g))

    def mean(x):
        return convolve2d(x, window, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    covariance = mean(a * b) - mu_a * mu_b
    numerator = (2 * mu_a * mu_b + c1) * (2 * covariance + c2)
    return np.mean(numerator / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2)))


def slow_luma(image):
    """Compute BT.601 luma with the coefficients of MATLAB's rgb2ycbcr, pixel by pixel."""
    r, g, b = (image[..., k] / 255.0 for k in range(3))
    return 65.481 * r + 128.553 * g + 24.966 * b + 16


def test_luma_of_the_colours():
    colours = np.array(
        [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8
    )
    np.testing.assert_allclose(luma(colours), [16, 235, 81.481, 144.553, 40.966], atol=1e-12)
    np.testing.assert_allclose(luma(noise(4, 5, 3)), slow_luma(noise(4, 5, 3)), atol=1e-12)


def test_psnr_of_a_constant_difference():
    a = noise(12, 15, 3) // 2
    b = a + np.uint8(5)
    assert psnr_rgb(a, b) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr_y(a, b) == pytest.approx(20 * math.log10(255 / (5 * 219 / 255)))


def test_psnr_of_equal_images_is_infinite():
    image = noise(12, 12, 3)
    assert psnr_y(image, image) == psnr_rgb(image, image) == math.inf


def test_psnr_averages_over_pixels():
    a = np.zeros((10, 10, 3), np.uint8)
    b = a.copy()
    b[0, 0] = 255
    assert psnr_rgb(a, b) == pytest.approx(10 * math.log10(100))


@pytest.mark.parametrize("border", [(0, 0), (2, 2), (1, 4)])
def test_border_is_left_out(border):
    a, b = noise(30, 36, 3), noise(30, 36, 3, seed=1)
    inner = np.s_[border[0] : 30 - border[0], border[1] : 36 - border[1]]
    for metric in (psnr_y, psnr_rgb, ssim_y, ssim_rgb):
        assert metric(a, b, border) == metric(a[inner], b[inner])
    b[inner] = a[inner]
    if border != (0, 0):
        assert psnr_y(a, b) < psnr_y(a, b, border) == math.inf


@pytest.mark.parametrize("shape", [(11, 11), (24, 37)])
@pytest.mark.parametrize("strength", [3, 40, 255])
def test_ssim_equals_the_formula(shape, strength):
    a = noise(*shape, 3)
    b = np.clip(a.astype(int) + noise(*shape, 3, seed=1).astype(int) % strength, 0, 255)
    b = b.astype(np.uint8)
    assert ssim_y(a, b) == pytest.approx(slow_ssim(slow_luma(a), slow_luma(b)), abs=1e-9)
    channels = [slow_ssim(*(x[..., k].astype(float) for x in (a, b))) for k in range(3)]
    assert ssim_rgb(a, b) == pytest.approx(np.mean(channels), abs=1e-9)
    assert ssim_y(a, b) == pytest.approx(ssim_y(b, a))


def test_ssim_of_equal_images_is_one():
    image = noise(16, 16, 3)
    assert ssim_y(image, image) == pytest.approx(1.0)
    assert ssim_rgb(image, image) == pytest.approx(1.0)


def test_ssim_of_two_constants():
    a, b = np.full((20, 20, 3), 50, np.uint8), np.full((20, 20, 3), 90, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim_rgb(a, b) == pytest.approx((2 * 50 * 90 + c1) / (50**2 + 90**2 + c1), abs=1e-9)


def test_ssim_is_not_defined_below_one_window():
    a, b = noise(18, 40, 3), noise(18, 40, 3, seed=1)
    assert math.isnan(ssim_y(a, b, (4, 4)))
    assert math.isnan(ssim_rgb(a, b, (4, 4)))
    assert math.isfinite(ssim_y(a, b, (3, 4)))
    assert math.isfinite(psnr_y(a, b, (4, 4)))


def test_border_for_rounds_up():
    assert border_for((2.0, 2.0)) == (2, 2)
    assert border_for((2.5, 3.7)) == (3, 4)


@pytest.mark.parametrize("metric", [psnr_y, psnr_rgb, ssim_y, ssim_rgb])
def test_errors_show_the_shapes(metric):
    metric = inspect.unwrap(metric)  # Without the check of annotations, which is on in tests only.
    with pytest.raises(ValueError, match=r"\(12, 12, 3\) and \(12, 13, 3\)"):
        metric(noise(12, 12, 3), noise(12, 13, 3))
    with pytest.raises(ValueError, match=r"float64 \(12, 12, 3\)"):
        metric(noise(12, 12, 3) / 255, noise(12, 12, 3))
    with pytest.raises(ValueError, match=r"\(12, 12\)"):
        metric(noise(12, 12), noise(12, 12))
    with pytest.raises(ValueError, match=r"\(-1, 0\)"):
        metric(noise(12, 12, 3), noise(12, 12, 3), (-1, 0))
    with pytest.raises(UserError, match="12 x 12 pixels"):
        metric(noise(12, 12, 3), noise(12, 12, 3), (6, 6))
