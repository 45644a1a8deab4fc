"""Mosaics of images."""

import numpy as np
import pytest

from hyperfunc.evaluation.panels import mosaic


@pytest.mark.parametrize("zoom", [1, 3])
def test_a_mosaic_shows_every_image_in_its_place(draw, zoom):
    rows = [[draw(3 * i + j, (6, 9)) for j in range(3)] for i in range(2)]
    picture = mosaic(rows, zoom=zoom)
    height, width = 6 * zoom + 4, 9 * zoom + 4  # With half of the gap on each side.
    assert picture.shape == (2 * height, 3 * width, 3) and picture.dtype == np.uint8
    gaps = np.ones(picture.shape[:2], bool)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = i * height + 2, j * width + 2
            place = np.s_[top : top + 6 * zoom, left : left + 9 * zoom]
            for offset in range(zoom):  # Each pixel is a square of one colour.
                np.testing.assert_array_equal(picture[place][offset::zoom, offset::zoom], image)
            gaps[place] = False
    assert (picture[gaps] == 255).all()
