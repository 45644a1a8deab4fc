"""Measures of how natural images are, and of what a path between two images does.

Host code in NumPy. Images are uint8 [n, h, w, 3]; a path is [n, t, h, w, 3], from one image (t = 0)
to another. They put numbers to the claim of Klocek et al. 2019, Section 4.1, that interpolation in
the space of weights stays on the manifold of images where a cross-fade superimposes them.
"""

import dataclasses
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, UInt8
from scipy.stats import spearmanr

from hyperfunc.errors import UserError
from hyperfunc.pixels import luma

ORIENTATIONS = 8
"""Bins of a histogram of gradients."""

CELLS = (8, 4)
"""Histograms are taken over 8 x 8 and 4 x 4 cells of an image."""

RESAMPLES = 200
"""Bootstrap samples of a confidence interval."""

DIMENSIONS = 64
"""Principal components of the features that are kept, so that a covariance can be estimated."""

Images = UInt8[np.ndarray, "_ h w 3"]
Features = Float[np.ndarray, "_ d"]


def gradient_histograms(images: Images) -> Float[np.ndarray, "n d"]:
    """Describe images by histograms of oriented gradients, not normalised by contrast.

    A normalised histogram (HOG) hardly sees blur, and a cross-fade is blurred and doubled: here a
    cell's entry is the square root of its mean gradient magnitude in that direction. Gradients are
    taken at two resolutions.

    Raises:
        UserError: the sides are not multiples of 16 pixels.

    Reference: Dalal & Triggs 2005, "Histograms of oriented gradients for human detection".
    """
    height, width = images.shape[1:3]
    if height % (2 * CELLS[0]) or width % (2 * CELLS[0]):
        raise UserError(
            f"images of {height} x {width} pixels cannot be divided into cells for their features: "
            f"both sides must be multiples of {2 * CELLS[0]}"
        )
    features = []
    level = luma(images) / 255.0
    for _ in range(2):
        dy, dx = np.gradient(level, axis=(1, 2))
        magnitude = np.hypot(dy, dx)
        angle = np.arctan2(dy, dx) % np.pi / np.pi * ORIENTATIONS
        lower = np.floor(angle)
        upper_share = angle - lower
        for k in range(ORIENTATIONS):
            share = np.where(lower % ORIENTATIONS == k, 1 - upper_share, 0.0)
            share += np.where((lower + 1) % ORIENTATIONS == k, upper_share, 0.0)
            for cells in CELLS:
                features.append(_cell_means(magnitude * share, cells))
        n, h, w = level.shape
        level = level.reshape(n, h // 2, 2, w // 2, 2).mean(axis=(2, 4))
    return np.sqrt(np.concatenate(features, axis=1))


@dataclasses.dataclass(frozen=True)
class FeatureSpace:
    """A fixed space of features: principal components of real images' gradient histograms."""

    mean: Float[np.ndarray, " d"]
    components: Float[np.ndarray, "d k"]

    @classmethod
    def fit(cls, images: Images, dimensions: int = DIMENSIONS) -> "FeatureSpace":
        """Fit to real images, which should not be those that are measured later."""
        features = gradient_histograms(images)
        mean = features.mean(axis=0)
        _, _, rows = np.linalg.svd(features - mean, full_matrices=False)
        return cls(mean, rows[:dimensions].T)

    def __call__(self, images: Images) -> Features:
        """Features of images."""
        return (gradient_histograms(images) - self.mean) @ self.components


def frechet_distance(a: Features, b: Features) -> float:
    """Squared Fréchet distance between normal distributions fitted to two sets of features.

    Reference: Heusel et al. 2017, "GANs trained by a two time-scale update rule", where the
    features are a network's.
    """
    mean = np.sum(np.square(a.mean(axis=0) - b.mean(axis=0)))
    one, two = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of a product of two covariances, by a similar symmetric matrix.
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = np.sqrt(np.clip(np.linalg.eigvalsh(root @ two @ root), 0, None)).sum()
    return max(float(mean + np.trace(one) + np.trace(two) - 2 * product), 0.0)


def gradient_energy(images: Images) -> Float[np.ndarray, " n"]:
    """Mean squared gradient of the luma of each image, (grey levels per pixel)^2."""
    dy, dx = np.gradient(luma(images), axis=(-2, -1))
    return (np.square(dy) + np.square(dx)).mean(axis=(-2, -1))


def roughness(path: UInt8[np.ndarray, "n t h w 3"]) -> Float[np.ndarray, " n"]:
    """How far a path is from a straight, even one in the space of pixels.

    The root mean square of second differences along t, in units of the mean step's: 0 for a
    cross-fade, which is straight, and sqrt(3) for images that have nothing to do with each other.
    """
    steps = np.diff(path.astype(np.float32), axis=1)
    bends = np.diff(steps, axis=1)
    rms = lambda x: np.sqrt(np.square(x).mean(axis=(1, 2, 3, 4)))  # noqa: E731
    return rms(bends) / np.maximum(rms(steps), 1e-9)


def interval(
    statistic: Callable[[np.ndarray], float],
    count: int,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Confidence interval of a statistic of the indices of ``count`` samples.

    Around the value itself, with the standard deviation of the bootstrap: its quantiles would lie
    too high for a Fréchet distance, which grows when samples are repeated.
    """
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(count, size=count)) for _ in range(RESAMPLES)]
    value = statistic(np.arange(count))
    reach = NormalDist().inv_cdf((1 + level) / 2) * float(np.std(values))
    return value - reach, value + reach


def distances(points: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"]) -> np.ndarray:
    """Euclidean distances, [n, m]."""
    # In float64, because large squares cancel.
    points, others = points.astype(np.float64), others.astype(np.float64)
    squares = np.square(points).sum(1)[:, None] + np.square(others).sum(1)[None]
    return np.sqrt(np.clip(squares - 2 * points @ others.T, 0, None))


def rank_correlation(a: Float[np.ndarray, "n n"], b: Float[np.ndarray, "n n"]) -> float:
    """Spearman's correlation of the entries above the diagonals of two matrices of distances."""
    above = np.triu_indices(len(a), 1)
    return float(np.asarray(spearmanr(a[above], b[above]))[0])


def rank_of_copies(
    originals: Float[np.ndarray, "n d"], copies: Float[np.ndarray, "n d"]
) -> np.ndarray:
    """Rank of each copy's own original among all, by distance: 1 is nearest."""
    to_all = distances(copies, originals)
    own = np.diag(to_all)
    return 1 + (to_all < own[:, None]).sum(axis=1)


def _cell_means(x: Float[np.ndarray, "n h w"], cells: int) -> Float[np.ndarray, "n d"]:
    n, h, w = x.shape
    return x.reshape(n, cells, h // cells, cells, w // cells).mean(axis=(2, 4)).reshape(n, -1)
