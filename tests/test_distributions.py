"""Principal components and mixtures, against closed forms and distributions that are known."""

import numpy as np
import pytest
import scipy.stats

from benchmarks.distributions import GaussianMixture, PrincipalComponents


@pytest.fixture
def points():
    """Forty points in a space of 100 dimensions; they span six of them."""
    rng = np.random.default_rng(0)
    spread = np.array([9.0, 7.0, 5.0, 3.0, 2.0, 1.0])
    return (rng.normal(size=(40, 6)) * spread) @ rng.normal(size=(6, 100)) + 3.0


@pytest.mark.parametrize("dimensions", [100, 20])  # More than points, and fewer.
def test_components_are_those_of_a_singular_value_decomposition(points, dimensions):
    points = points[:, :dimensions]
    components = PrincipalComponents.fit(points, 4)
    _, values, rows = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(components.axes @ components.axes.T, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(components.axes * rows[:4], axis=1)), 1.0)
    np.testing.assert_allclose(components.share, np.square(values[:4]) / np.square(values).sum())


def test_all_components_hold_the_points(points):
    components = PrincipalComponents.fit(points, 6)
    np.testing.assert_allclose(components.expand(components.project(points)), points)
    assert components.share.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("count", [0, 7, 41])
def test_more_components_than_the_points_span_are_refused(points, count):
    with pytest.raises(ValueError, match=f"{count} axes of 40 points"):
        PrincipalComponents.fit(points, count)


def test_a_mixture_of_one_is_the_normal_distribution_of_the_points(points):
    points = points[:, :3]
    gaussian = GaussianMixture.fit(points)
    covariance = np.cov(points, rowvar=False, bias=True)
    ridge = 1e-3 * np.trace(covariance) / 3 * np.eye(3)
    np.testing.assert_allclose(gaussian.means[0], points.mean(axis=0))
    np.testing.assert_allclose(gaussian.covariances[0], covariance + ridge)
    expected = scipy.stats.multivariate_normal(points.mean(axis=0), covariance + ridge)
    assert gaussian.log_likelihood(points) == pytest.approx(expected.logpdf(points).mean())


def draw_two_lines(count, seed):
    """Draw points near two lines, a third of them near the first, through (8, 0) and the origin."""
    rng = np.random.default_rng(seed)
    is_first = rng.uniform(size=count) < 1 / 3
    along, across = rng.normal(size=(2, count)) * [[2.0], [0.3]]
    return np.where(is_first, [8 + along, along + across], [across, along]).T


def test_a_mixture_finds_its_parts_and_one_gaussian_does_not():
    points, others = draw_two_lines(2000, 0), draw_two_lines(2000, 1)
    mixture = GaussianMixture.fit(points, 2)
    first = np.argmin(mixture.weights)
    np.testing.assert_allclose(mixture.weights[first], 1 / 3, atol=0.05)
    np.testing.assert_allclose(mixture.means[first], [8.0, 0.0], atol=0.3)
    np.testing.assert_allclose(mixture.covariances[first], [[4.0, 4.0], [4.0, 4.09]], rtol=0.15)
    gaussian = GaussianMixture.fit(points)
    assert mixture.log_likelihood(others) > gaussian.log_likelihood(others) + 0.3


def test_samples_have_the_moments_of_the_mixture():
    mixture = GaussianMixture.fit(draw_two_lines(2000, 0), 2)
    samples = mixture.sample(50_000, seed=3)
    mean = mixture.weights @ mixture.means
    second = np.einsum("m,mij->ij", mixture.weights, mixture.covariances)
    second += (mixture.weights[:, None] * mixture.means).T @ mixture.means
    np.testing.assert_allclose(samples.mean(axis=0), mean, atol=0.1)
    np.testing.assert_allclose(samples.T @ samples / 50_000, second, atol=0.5)
    np.testing.assert_array_equal(samples, mixture.sample(50_000, seed=3))


@pytest.mark.parametrize("parts", [0, 6])
def test_more_parts_than_half_the_points_are_refused(points, parts):
    with pytest.raises(ValueError, match=f"{parts} parts for 10 points"):
        GaussianMixture.fit(points[:10], parts)
