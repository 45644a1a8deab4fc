import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.pixels import (
    Axis,
    axis_over,
    choose_size,
    integer_scale,
    mirror_indices,
    pixel_centres,
    to_positions,
)
from hyperfunc.upscaling import Request


def test_samples_of_an_axis_are_pixel_centres():
    np.testing.assert_allclose(Axis(0.0, 1.0, 4).positions(), [0.5, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(Axis(2.0, 0.5, 3).positions(), [2.25, 2.75, 3.25])


def test_an_axis_over_the_whole_keeps_the_corners():
    # The outermost samples lie half a step inside, for any number of samples.
    for count in (1, 7, 10, 37):
        axis = axis_over((0.0, 1.0), count, input_pixels=10)
        positions = np.asarray(axis.positions())
        assert axis.step == 10 / count
        np.testing.assert_allclose(positions[0], axis.step / 2)
        np.testing.assert_allclose(positions[-1], 10 - axis.step / 2, rtol=1e-6)


def test_an_axis_over_a_part_continues_the_axis_over_the_whole():
    whole = axis_over((0.0, 1.0), 30, input_pixels=12).positions()
    part = axis_over((0.2, 0.7), 15, input_pixels=12).positions()
    np.testing.assert_allclose(part, whole[6:21], rtol=1e-5)


def test_coordinates_and_axes_agree():
    size = (3, 5)
    coords = pixel_centres(size)
    assert coords.shape == (3, 5, 2)
    np.testing.assert_allclose(coords[2, 0], [2.5 / 3, 0.5 / 5], rtol=1e-6)  # (y, x)
    positions = to_positions(coords, (12, 10))
    rows, cols = axis_over((0.0, 1.0), 3, 12), axis_over((0.0, 1.0), 5, 10)
    np.testing.assert_allclose(positions[:, 0, 0], rows.positions(), rtol=1e-6)
    np.testing.assert_allclose(positions[0, :, 1], cols.positions(), rtol=1e-6)


def test_the_start_of_an_axis_may_be_traced():
    positions = jax.jit(lambda start: Axis(start, 0.5, 3).positions())(jnp.asarray(2.0))
    np.testing.assert_allclose(positions, Axis(2.0, 0.5, 3).positions())


def test_python_and_the_command_line_enlarge_to_the_same_size():
    for size, scale in (((5, 9), 2.5), ((3, 1), 0.1), ((7, 10), 1.05)):
        rounded = tuple(max(math.floor(n * scale + 0.5), 1) for n in size)
        assert choose_size(size, None, None, scale) == rounded
        assert Request(scale=(scale, scale)).find_size("a", size) == rounded


def test_an_integer_scale_is_that_of_both_axes():
    assert integer_scale((6, 8), (3, 4)) == 2
    assert integer_scale((3, 4), (3, 4)) == 1
    for size in ((6, 12), (7, 8), (6, 9), (2, 2)):
        assert integer_scale(size, (3, 4)) is None


@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_the_border_is_mirrored_like_symmetric_padding(pixels):
    margin = 3 * pixels + 1
    expected = np.pad(np.arange(pixels), margin, mode="symmetric")
    index = np.arange(-margin, pixels + margin)
    np.testing.assert_array_equal(mirror_indices(index, pixels), expected)
    np.testing.assert_array_equal(mirror_indices(jnp.asarray(index), pixels), expected)
