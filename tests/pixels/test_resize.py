"""The resizer against a slow loop per pixel that shares no code with it, and known properties."""

import inspect
import math

import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.errors import UserError
from hyperfunc.pixels import (
    axis_weights,
    crop_margin,
    cubic_kernel,
    degrade,
    degrade_crop,
    imresize,
)


def keys(x):
    """Evaluate Keys 1981, Eq. (4), with its constant a."""
    a, x = -0.5, abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def slow_axis(line, n_out, scale, offset, rounded):
    """Resize one line of pixels, one output pixel and one input pixel at a time."""
    n, widen, result = len(line), max(1.0, 1.0 / scale), []
    for i in range(n_out):
        centre = (i + 0.5 + offset) / scale
        total = weight_sum = 0.0
        for j in range(math.floor(centre - 2 * widen) - 1, math.ceil(centre + 2 * widen) + 2):
            mirrored = j
            while not 0 <= mirrored < n:
                mirrored = -1 - mirrored if mirrored < 0 else 2 * n - 1 - mirrored
            weight = keys((centre - (j + 0.5)) / widen)
            total += weight * float(line[mirrored])
            weight_sum += weight
        value = total / weight_sum
        result.append(min(max(math.floor(value + 0.5 + 1e-6), 0), 255) if rounded else value)
    return result


def slow_imresize(image, size, *, scale=None, offset=(0.0, 0.0)):
    """Resize both axes, first the one that shrinks more."""
    scale = scale or (size[0] / image.shape[0], size[1] / image.shape[1])
    rounded = image.dtype == np.uint8
    image = image.astype(np.float64)
    for axis in sorted((0, 1), key=lambda k: scale[k]):
        image = np.apply_along_axis(
            slow_axis, axis, image, size[axis], scale[axis], offset[axis], rounded
        )
    return image


def noise(*shape):
    """Draw random pixels, the hardest image to resize."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def photograph_like(height, width):
    """Draw a smooth image with an edge."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        120 + 90 * np.sin(0.11 * x + 0.07 * y + k) + 40 * (x + k * y > width) for k in range(3)
    ]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


SIZES = [(6, 9), (24, 18), (5, 40), (30, 4), (13, 17), (1, 1), (12, 18)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_equals_a_loop_per_pixel(size, dtype):
    image = noise(12, 18, 3).astype(dtype)
    np.testing.assert_allclose(imresize(image, size), slow_imresize(image, size), atol=1e-9)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.45), (2.1, 1.7)])
def test_equals_a_loop_per_pixel_at_a_phase(offset):
    image, scale = noise(21, 24, 3), (1 / 3, 1 / 2)
    got = imresize(image, (5, 9), scale=scale, offset=offset)
    np.testing.assert_array_equal(got, slow_imresize(image, (5, 9), scale=scale, offset=offset))


def test_kernel_interpolates():
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 2.5])
    np.testing.assert_allclose(cubic_kernel(x), [0, 0, 1, 0, 0, 0], atol=1e-15)
    dense = np.linspace(-3, 3, 301)
    expected = [keys(v) for v in dense]
    np.testing.assert_allclose(cubic_kernel(dense), expected, atol=1e-14)
    np.testing.assert_allclose(cubic_kernel(jnp.asarray(dense)), expected, atol=1e-5)


@pytest.mark.parametrize(("n_in", "n_out"), [(12, 4), (12, 5), (7, 30), (1, 3), (3, 1), (9, 9)])
@pytest.mark.parametrize("offset", [0.0, 0.37, -0.5])
def test_weights_sum_to_one(n_in, n_out, offset):
    indices, weights = axis_weights(n_in, n_out, offset=offset)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    assert indices.min() >= 0
    assert indices.max() < n_in
    assert weights.any(axis=0).all()


@pytest.mark.parametrize(("t", "taps"), [(1, 1), (2, 8), (3, 9), (4, 16)])
def test_taps_that_are_zero_are_dropped(t, taps):
    assert axis_weights(60, 60 // t)[1].shape == (60 // t, taps)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_keeps_a_constant(size, dtype):
    got = imresize(np.full((12, 18, 3), 77, dtype), size)
    assert got.dtype == dtype
    assert got.shape == (*size, 3)
    np.testing.assert_allclose(got, 77, rtol=1e-6)


def test_is_the_identity_at_scale_one():
    image = noise(9, 13, 3)
    np.testing.assert_array_equal(imresize(image, (9, 13)), image)
    np.testing.assert_array_equal(imresize(image / 255, (9, 13)), image / 255)


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.5, 1.0, 2.0, 3.7])
def test_keeps_an_affine_ramp_in_the_interior(scale):
    n_out = int(60 * scale)
    ramp = 0.01 * (np.arange(60) + 0.5)
    got = imresize(np.tile(ramp[:, None], (1, 2)), (n_out, 2), scale=(scale, 1.0))[:, 0]
    centres = (np.arange(n_out) + 0.5) / scale
    reach = 2 * max(1, 1 / scale) + 1
    inside = (centres > reach) & (centres < 60 - reach)
    assert inside.sum() >= 5
    np.testing.assert_allclose(got[inside], 0.01 * centres[inside], atol=1e-12)


def test_rounds_and_clips_after_each_axis():
    image = noise(12, 12, 1)
    once = np.clip(np.floor(imresize(image.astype(np.float64), (4, 4)) + 0.5), 0, 255)
    rows = np.clip(np.floor(imresize(image.astype(np.float64), (4, 12)) + 0.5), 0, 255)
    twice = np.clip(np.floor(imresize(rows, (4, 4)) + 0.5), 0, 255)
    assert (once != twice).any()
    np.testing.assert_array_equal(imresize(image, (4, 4)), twice)


def test_takes_the_axis_with_the_smaller_scale_first():
    image = noise(12, 18)
    columns_first = imresize(imresize(image, (12, 3)), (9, 3))
    assert (columns_first != imresize(imresize(image, (9, 18)), (9, 3))).any()
    np.testing.assert_array_equal(imresize(image, (9, 3)), columns_first)


def test_grey_and_batches_are_resized_like_their_images():
    batch = noise(2, 12, 18, 3)
    got = imresize(batch, (7, 5))
    for k in range(2):
        np.testing.assert_array_equal(got[k], imresize(batch[k], (7, 5)))
        np.testing.assert_array_equal(got[k, ..., 1], imresize(batch[k, ..., 1], (7, 5)))


@pytest.mark.parametrize("scale", [(2.0, 2.0), (3.0, 3.0), (4.0, 4.0), (2.0, 3.0)])
def test_degrade_crops_to_a_multiple(scale):
    hr = noise(25, 31, 3)
    lr, cropped = degrade(hr, scale)
    size = (25 // int(scale[0]), 31 // int(scale[1]))
    assert lr.shape == (*size, 3)
    np.testing.assert_array_equal(cropped, hr[: size[0] * int(scale[0]), : size[1] * int(scale[1])])
    np.testing.assert_array_equal(lr, imresize(cropped, size))


def test_degrade_keeps_the_whole_image_at_a_real_scale():
    hr = noise(25, 31, 3)
    lr, cropped = degrade(hr, (2.5, 3.7))
    assert lr.shape == (10, 8, 3)
    np.testing.assert_array_equal(cropped, hr)
    np.testing.assert_array_equal(lr, imresize(hr, (10, 8)))
    assert degrade(hr, (2.0, 2.5))[1].shape == (24, 31, 3)
    assert degrade(noise(9, 9, 3), (3.6, 3.6))[0].shape == (3, 3, 3)  # 2.5 is rounded up.


@pytest.mark.parametrize("scale", [(0.0, 2.0), (-1.0, 2.0), (math.nan, 2.0), (2.0, math.inf)])
def test_degrade_refuses_impossible_scales(scale):
    with pytest.raises(UserError, match="scale"):
        degrade(noise(8, 8, 3), scale)


def test_degrade_refuses_an_image_that_is_too_small():
    with pytest.raises(UserError, match="3 x 9 pixels .* scale of 4"):
        degrade(noise(3, 9, 3), (4.0, 4.0))


@pytest.mark.parametrize("image", [noise(48, 60, 3), photograph_like(48, 60)])
@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_degrade_crop_is_the_crop_of_the_degraded_image(image, t):
    whole, _ = degrade(image, (float(t), float(t)))
    margin = crop_margin(t)
    top, left, n = 2 * t, 3 * t, 4
    crop = image[top : top + n * t + 2 * margin, left : left + n * t + 2 * margin]
    row, column = (top + margin) // t, (left + margin) // t
    np.testing.assert_array_equal(degrade_crop(crop, t), whole[row : row + n, column : column + n])


@pytest.mark.parametrize("t", [2, 3, 4])
@pytest.mark.parametrize("sign", [-1, 1])
def test_degrade_crop_never_mirrors_inside_its_margin(t, sign):
    side, beyond = 4 * t + 2 * crop_margin(t), 3 * t
    hr = noise(side + 2 * beyond, side + 2 * beyond, 3)
    inner = hr[beyond:-beyond, beyond:-beyond]
    phase = (sign * 0.5 * t, sign * 0.31 * t)
    np.testing.assert_array_equal(
        degrade_crop(inner, t, phase=phase), degrade_crop(hr, t, phase=phase)[3:-3, 3:-3]
    )


def test_degrade_crop_moves_the_grid_by_its_phase():
    # One high-resolution pixel of phase is the same as a crop that starts one pixel later.
    hr = noise(40, 40, 3)
    got = degrade_crop(hr[4:36, 4:36], 4, phase=(1.0, -1.0))
    np.testing.assert_array_equal(got, degrade_crop(hr[5:37, 3:35], 4))
    # On a ramp, a phase of phi pixels is worth phi times the slope.
    ramp = np.tile((4 * np.arange(40, dtype=np.uint8))[:, None, None], (1, 40, 3))
    moved = degrade_crop(ramp, 4, phase=(1.25, 0.0)).astype(int) - degrade_crop(ramp, 4)
    np.testing.assert_array_equal(moved, 5)


def test_degrade_crop_takes_batches():
    hr = noise(2, 24, 27, 3)
    got = degrade_crop(hr, 3, phase=(0.4, -1.2))
    assert got.shape == (2, 4, 5, 3)
    for k in range(2):
        want = slow_imresize(hr[k], (4, 5), scale=(1 / 3, 1 / 3), offset=(6.4 / 3, 4.8 / 3))
        np.testing.assert_array_equal(got[k], want)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: axis_weights(0, 3), "0 pixels to 3"),
        (lambda: axis_weights(3, 3, scale=-1.0), "-1.0"),
        (lambda: imresize(noise(4), (2, 2)), r"\(4,\)"),
        (lambda: imresize(np.zeros((4, 4), int), (2, 2)), "int64"),
        (lambda: inspect.unwrap(degrade)(np.zeros((4, 4, 3)), (2.0, 2.0)), "float64"),
        (lambda: degrade_crop(noise(25, 24, 3), 3), r"\(25, 24, 3\)"),
        (lambda: degrade_crop(noise(24, 24, 3), 3, phase=(0.0, 1.6)), "1.6"),
    ],
)
def test_a_wrong_argument_is_shown(call, message):
    with pytest.raises(ValueError, match=message):
        call()
