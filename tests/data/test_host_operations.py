"""Random operations on one example: crops, symmetries, noise and JPEG."""

import numpy as np
import pytest

from hyperfunc.data.augmentation import disturb, measure_detail, round_to_levels
from hyperfunc.data.host_operations import (
    Setting,
    augment,
    compress,
    crop_at_random,
    draw_disturbance,
    enlarge,
)

QUALITIES = (30, 95)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def numbered(height: int, width: int) -> np.ndarray:
    """An image in which each pixel has its position as its colour: (row, column, 0)."""
    rows, cols = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return np.stack([rows, cols, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_crops_reach_every_corner_of_the_image():
    corners = []
    for seed in range(200):
        region = crop_at_random(numbered(12, 20), 8, rng(seed)).astype(int)
        assert region.shape == (8, 8, 3)
        corners.append(region[0, 0, :2])
        np.testing.assert_array_equal(region - region[:1, :1], numbered(8, 8))
    corners = np.array(corners)
    assert corners.min(axis=0).tolist() == [0, 0] and corners.max(axis=0).tolist() == [4, 12]


def test_a_margin_is_mirrored_at_the_border():
    region = crop_at_random(numbered(8, 8), 12, rng(), margin=2)
    expected = [1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 6]
    assert region[:, 0, 0].tolist() == expected and region[0, :, 1].tolist() == expected
    # A margin inside the image is not mirrored.
    seen = [crop_at_random(numbered(40, 8), 12, rng(i), margin=2)[:, 0, 0] for i in range(50)]
    assert any((np.diff(rows.astype(int)) == 1).all() for rows in seen)


@pytest.mark.parametrize("size", [(1, 1), (3, 30), (5, 7)])
def test_an_image_smaller_than_the_crop_is_mirrored(size):
    region = crop_at_random(numbered(*size), 16, rng(), margin=3)
    assert region.shape == (16, 16, 3)
    assert set(region[:, 0, 0].tolist()) == set(range(size[0]))
    assert np.abs(np.diff(region.astype(int), axis=0)).max() <= 1


def test_augmentation_draws_all_symmetries_of_the_square():
    image = numbered(5, 5)
    seen = {
        augment(image, rng(seed), flips=True, permute_colors=0.0).tobytes() for seed in range(80)
    }
    turns = [np.rot90(image, k) for k in range(4)]
    assert seen == {x.tobytes() for turn in turns for x in (turn, turn[::-1])}
    np.testing.assert_array_equal(augment(image, rng(), flips=False, permute_colors=0.0), image)


def test_permute_colors_is_the_share_of_permuted_examples():
    image = np.broadcast_to(np.arange(3, dtype=np.uint8), (2, 2, 3))
    drawn = [
        tuple(augment(image, rng(seed), flips=False, permute_colors=0.5)[0, 0].tolist())
        for seed in range(200)
    ]
    assert len(set(drawn)) == 6
    assert 0.45 < np.mean([colours == (0, 1, 2) for colours in drawn]) < 0.72  # 1/2 + 1/12


def test_grey_is_the_share_of_examples_without_colours():
    image = np.broadcast_to(np.uint8([10, 200, 90]), (2, 2, 3))
    drawn = [
        tuple(augment(image, rng(seed), flips=False, permute_colors=0.0, grey=0.3)[1, 0].tolist())
        for seed in range(200)
    ]
    assert set(drawn) == {(10, 200, 90), (131, 131, 131)}  # 2.99 + 117.4 + 10.26 = 130.65
    assert 0.2 < np.mean([colours == (131, 131, 131) for colours in drawn]) < 0.4


def test_noise_is_grey_or_coloured_or_dithers_the_image():
    grey = np.full((32, 32, 3), 128, np.uint8)
    images = [
        disturb(grey, grey, draw_disturbance((32, 32), rng(seed)), lambda change: change)[0]
        for seed in range(100)
    ]
    is_grey = [np.ptp(image, axis=2).max() == 0 for image in images]
    is_dithered = [set(np.unique(image)) == {0, 255} for image in images]
    spread = [image.std() for image in images]
    assert 30 < sum(is_grey) < 70
    assert 10 < sum(is_dithered) < 45
    assert 8 < min(spread) < 20 and 100 < max(spread)


def test_detail_is_the_mean_difference_of_neighbours():
    steps = np.zeros((4, 6, 3), np.uint8)
    steps[:, ::2, 1] = 10
    steps[2:, :, 1] += 30
    assert measure_detail(steps) == pytest.approx(10 + 10)
    assert measure_detail(steps[..., ::-1]) == measure_detail(steps) == measure_detail(255 - steps)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("phase", [(0.0, 0.0), (0.9, -1.3)])
def test_an_enlarged_difference_is_aligned_with_the_target(scale, phase):
    """A ramp over the observed pixels becomes a ramp of slope 1 / scale over the target's."""
    rows, cols = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    ramp = np.stack([6 * rows, 4 * cols, 0 * rows], axis=-1).astype(np.float32)
    target = np.full((16 * scale, 16 * scale, 3), 50, np.uint8)
    result = round_to_levels(target + enlarge(ramp, Setting(scale, phase))).astype(float) - 50
    y, x = ((np.arange(16 * scale) + 0.5 - first) / scale - 0.5 for first in phase)
    inside = slice(3 * scale, -3 * scale)
    for channel, expected in enumerate((6 * y[:, None], 4 * x[None], np.zeros((1, 1)))):
        assert np.abs(result[..., channel] - expected)[inside, inside].max() <= 0.5 + 1e-3


@pytest.mark.parametrize("size", [(4, 4), (48, 48), (17, 30)])
def test_compression_loses_as_much_as_a_jpeg_does(size):
    """A ramp survives up to rounding, noise loses much."""
    ramp = np.clip(numbered(*size) * [3, 2, 0], 0, 255).astype(np.uint8)
    noise = rng().integers(0, 256, (*size, 3)).astype(np.uint8)
    errors = np.asarray(
        [
            [
                np.abs(compress(image, rng(seed), QUALITIES) - image.astype(float)).mean()
                for seed in range(60)
            ]
            for image in (ramp, noise)
        ]
    )
    assert errors[0].max() < 6 and errors[1].min() > errors[0].max()
    # Qualities and chroma subsamplings vary.
    assert errors[1].max() > 2.5 * errors[1].min()


def test_the_blocks_of_a_jpeg_begin_anywhere():
    """A step within a block makes the row ring as far as the border of the block."""
    image = np.full((48, 48, 3), 128, np.uint8)
    image[:, 24:] = 200
    borders = set()
    for seed in range(120):
        is_changed = (compress(image, rng(seed), QUALITIES)[24] != image[24]).any(axis=-1)
        if is_changed.any():
            borders.add(int(np.flatnonzero(is_changed)[0]) % 8)
    assert len(borders) >= 7  # Nothing rings where the step lies on a border.
