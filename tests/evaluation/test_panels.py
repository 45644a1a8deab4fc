"""Mosaics of images."""

import numpy as np

from hyperfunc.evaluation.panels import mosaic


def test_a_mosaic_shows_every_image_in_its_place(draw):
    rows = [[draw(3 * i + j, (6, 9)) for j in range(3)] for i in range(2)]
    picture = mosaic(rows)
    height, width = 6 + 4, 9 + 4  # With half of the gap on each side.
    assert picture.shape == (2 * height, 3 * width, 3) and picture.dtype == np.uint8
    gaps = np.ones(picture.shape[:2], bool)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = i * height + 2, j * width + 2
            place = np.s_[top : top + 6, left : left + 9]
            np.testing.assert_array_equal(picture[place], image)
            gaps[place] = False
    assert (picture[gaps] == 255).all()
