"""Statistics of images and of paths, against closed forms and independent formulas."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from hyperfunc.evaluation import FeatureSpace, frechet_distance, gradient_energy
from hyperfunc.evaluation.statistics import (
    ORIENTATIONS,
    confidence_interval,
    distances,
    gradient_histograms,
    rank_correlation,
    rank_of_originals,
    roughness,
)
from hyperfunc.pixels import imresize

GREY = 219 / 255
"""Change of the luma for a change of all three channels by 1."""


def ramp(dy: int, dx: int, side: int = 16) -> np.ndarray:
    """A grey plane with these slopes, as a batch of one."""
    rows, cols = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    plane = dy * rows + dx * cols
    plane = (plane - plane.min()).astype(np.uint8)
    return np.repeat(plane[None, ..., None], 3, axis=-1)


def noise(count: int, side: int = 16, seed: int = 0) -> np.ndarray:
    shape = (count, side, side, 3)
    return np.random.default_rng(seed).integers(256, size=shape).astype(np.uint8)


# Histograms of gradients.


@pytest.mark.parametrize(
    ("slopes", "degrees"),
    [
        ((0, 2), 0),
        ((2, 0), 90),
        ((1, 1), 45),
        ((1, -1), 135),
        ((3, 1), np.degrees(np.arctan2(3, 1))),
        ((1, -4), 180 - np.degrees(np.arctan2(1, 4))),  # Between the last and the first bin.
    ],
)
def test_a_plane_has_the_histogram_of_its_slope(slopes, degrees):
    """Its magnitude is shared by the two nearest directions, at both resolutions."""
    levels = gradient_histograms(ramp(*slopes))[0].reshape(2, ORIENTATIONS, -1)
    position = degrees / 180 * ORIENTATIONS
    near = np.abs(np.arange(ORIENTATIONS) - position)
    share = np.clip(1 - np.minimum(near, ORIENTATIONS - near), 0, None)
    for pixel, histogram in zip((1, 2), levels, strict=True):
        magnitude = pixel * np.hypot(*slopes) * GREY / 255
        expected = np.repeat(np.sqrt(magnitude * share)[:, None], histogram.shape[1], axis=1)
        np.testing.assert_allclose(histogram, expected, atol=1e-6)


def test_opposite_gradients_have_the_same_histogram():
    np.testing.assert_allclose(
        gradient_histograms(ramp(3, 1)), gradient_histograms(255 - ramp(3, 1)), atol=1e-6
    )


def test_histograms_locate_gradients():
    """Only the 4 x 4 cells with an edge of the bright bar at the upper border are not zero."""
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[:, :4, 2:] = 100  # Its edges show in columns 1 and 2, and in rows 3 and 4.
    level = gradient_histograms(image)[0].reshape(2, ORIENTATIONS, 80)[0]
    across, down = (level[k, :64].reshape(8, 8) for k in (0, ORIENTATIONS // 2))
    np.testing.assert_array_equal(np.argwhere(across), [[0, 0]])
    np.testing.assert_array_equal(np.argwhere(down), [[i, j] for i in (0, 1) for j in range(8)])


def test_blur_and_cross_fades_lower_histograms():
    """Unlike usual ones, they are not normalised by contrast."""
    images = noise(4, 32)
    blurred = np.stack([imresize(imresize(x, (16, 16)), (32, 32)) for x in images])
    faded = (images.astype(int) + images[::-1] + 1) // 2
    before = gradient_histograms(images).mean()
    assert gradient_histograms(blurred).mean() < 0.9 * before
    assert gradient_histograms(faded.astype(np.uint8)).mean() < 0.9 * before


# Features and their distance.


def test_features_are_principal_components():
    images = noise(12)
    histograms, space = gradient_histograms(images), FeatureSpace.fit(images, dimensions=4)
    np.testing.assert_allclose(space.components.T @ space.components, np.eye(4), atol=1e-9)
    features = space(images)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-9)
    # Components are uncorrelated; their variances are the largest eigenvalues, in order.
    eigenvalues = np.linalg.eigvalsh(np.cov(histograms, rowvar=False))[::-1]
    np.testing.assert_allclose(
        np.cov(features, rowvar=False), np.diag(eigenvalues[:4]), atol=1e-9 * eigenvalues[0]
    )
    other = noise(3, seed=1)
    centred = gradient_histograms(other) - histograms.mean(axis=0)
    np.testing.assert_allclose(space(other), centred @ space.components)


def test_few_images_span_few_components():
    images = noise(5)
    features = FeatureSpace.fit(images)(images)
    assert features.shape == (5, 5)
    histograms = gradient_histograms(images)
    np.testing.assert_allclose(cdist(features, features), cdist(histograms, histograms), atol=1e-6)


def white(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    """Samples whose mean is exactly 0 and whose covariance is exactly the identity."""
    x = np.random.default_rng(seed).normal(size=(count, dimensions))
    x -= x.mean(axis=0)
    return x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T


def test_frechet_distance_of_commuting_covariances():
    """Squared distances of the means and of the standard deviations along the common axes."""
    axes, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    means = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 0.5]])
    deviations = np.array([[1.0, 2.0, 0.1], [3.0, 0.5, 0.1]])
    a, b = (
        (white(20, 3, n) * deviation) @ axes.T + mean
        for n, deviation, mean in zip((0, 1), deviations, means, strict=True)
    )
    expected = np.square(means[0] - means[1]).sum() + np.square(deviations[0] - deviations[1]).sum()
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_frechet_distance_agrees_with_its_definition():
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4)) + rng.normal(size=4) for _ in "ab")
    one, two = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(one @ two))
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(one + two - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


def test_frechet_distance_of_sets_of_different_sizes():
    assert frechet_distance(white(20, 3), white(31, 3) * 2) == pytest.approx(3)


def test_frechet_distance_of_fewer_samples_than_dimensions():
    a = np.random.default_rng(3).normal(size=(5, 12))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + 2) == pytest.approx(12 * 4)


# Energy and paths.


@pytest.mark.parametrize("slopes", [(0, 2), (2, 0), (3, 1), (0, 0)])
def test_gradient_energy_of_a_plane(slopes):
    expected = np.square(np.array(slopes) * GREY).sum()
    np.testing.assert_allclose(gradient_energy(ramp(*slopes)), [expected], rtol=1e-6, atol=1e-9)


def test_gradient_energy_is_computed_for_each_image():
    images = np.concatenate([ramp(0, 1), ramp(0, 3), ramp(4, 3)])
    expected = np.square(GREY) * np.array([1, 9, 25])
    np.testing.assert_allclose(gradient_energy(images), expected, rtol=1e-6)


def test_cross_fades_and_blurred_images_have_less_energy():
    images, others = noise(8), noise(8, seed=1)
    ends = (gradient_energy(images) + gradient_energy(others)) / 2
    faded = ((images.astype(int) + others + 1) // 2).astype(np.uint8)
    # A cross-fade of two independent images has half of their energy.
    assert (gradient_energy(faded) / ends).mean() == pytest.approx(0.5, abs=0.05)
    blurred = np.stack([imresize(imresize(x, (11, 11)), (16, 16)) for x in images])
    assert (gradient_energy(blurred) < 0.7 * gradient_energy(images)).all()


def as_path(values) -> np.ndarray:
    """A path of constant images from values [t], or of images [t, 4, 4, 3]."""
    values = np.asarray(values)
    values = values[..., None, None, None] if values.ndim == 1 else values
    return np.broadcast_to(values, (*values.shape[:1], 4, 4, 3)).astype(np.uint8)[None]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10, 20, 30, 40], 0),  # Straight and even.
        ([40, 30, 20, 10], 0),
        ([7, 7, 7], 0),
        ([0, 10, 40], 2 / np.sqrt(5)),  # Straight, of steps 1 and 3.
        ([0, 50, 0, 50, 0], 2),  # The maximum: each step undoes the one before.
    ],
)
def test_roughness_of_simple_paths(values, expected):
    assert roughness(as_path(values)) == pytest.approx([expected], rel=1e-5)


def test_roughness_of_random_paths():
    """Second differences of independent steps s have the variance 2 var(s).

    Those of independent images x have the variance 6 var(x), and first differences 2 var(x).
    """
    rng = np.random.default_rng(0)
    steps = rng.integers(-3, 4, size=(300, 4, 4, 3))
    walk = 128 + np.cumsum(steps, axis=0)
    assert walk.min() >= 0 and walk.max() <= 255
    assert roughness(as_path(walk)) == pytest.approx([np.sqrt(2)], rel=0.02)
    images = rng.integers(256, size=(300, 4, 4, 3))
    assert roughness(as_path(images)) == pytest.approx([np.sqrt(3)], rel=0.02)


def test_each_path_has_its_own_roughness():
    paths = np.concatenate([as_path([0, 10, 20]), as_path([0, 50, 0]), as_path([0, 10, 40])])
    np.testing.assert_allclose(roughness(paths), [0, 2, 2 / np.sqrt(5)], rtol=1e-5)


# Intervals.


def test_an_interval_contains_the_mean_as_often_as_its_level_says():
    rng, covered, widths = np.random.default_rng(0), 0, []
    for _ in range(100):
        x = rng.normal(3.0, 2.0, size=60)
        low, high = confidence_interval(lambda i, x=x: float(x[i].mean()), 60)
        covered += low <= 3.0 <= high
        widths.append(high - low)
    assert 87 <= covered <= 99
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 2 / np.sqrt(60), rel=0.1)


def test_an_interval_lies_around_the_statistic_and_is_repeatable():
    x = np.random.default_rng(0).normal(size=40)
    mean = lambda i: float(x[i].mean())  # noqa: E731
    low, high = confidence_interval(mean, 40)
    assert (low, high) == confidence_interval(mean, 40)
    assert low < x.mean() < high
    assert confidence_interval(lambda i: 7.0, 40) == (7.0, 7.0)


# Neighbours.


def test_distances_are_euclidean():
    rng = np.random.default_rng(0)
    points, others = rng.normal(size=(6, 5)), rng.normal(size=(4, 5))
    np.testing.assert_allclose(distances(points, others), cdist(points, others))
    far = 1000 + points.astype(np.float32)  # Where rounding could make a square negative.
    assert np.isfinite(distances(far, far)).all()


def test_rank_correlation_is_spearman_s():
    rng = np.random.default_rng(0)
    a, b = (cdist(x, x) for x in rng.normal(size=(2, 9, 3)))
    b = b + a  # So that they are correlated.
    above = np.triu_indices(9, 1)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a[above], b[above]).statistic)
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    # Only entries above the diagonal count.
    np.fill_diagonal(b, 1e9)
    assert rank_correlation(a, np.triu(b)) == pytest.approx(rank_correlation(a, b))


def test_ranks_agree_with_counting():
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(15, 3))
    copies = originals + rng.normal(size=(15, 3))
    ranks = rank_of_originals(originals, copies)
    for i, copy in enumerate(copies):
        away = [np.linalg.norm(copy - original) for original in originals]
        assert ranks[i] == 1 + sum(other < away[i] for other in away)
    assert ranks.max() > 1
    assert (rank_of_originals(originals, originals + 1e-3) == 1).all()
    # Each copy on a line is moved by two places, so that up to three others are nearer.
    line = np.arange(4.0)[:, None]
    assert rank_of_originals(line, line + 2).tolist() == [4, 3, 2, 1]
