"""Statistics of sets of images, and of image sequences between two images.

They test a claim of Klocek et al. 2019, Section 4.1: interpolation in weight space stays on the
manifold of natural images, where a cross-fade superimposes two of them.

Host code in NumPy. Images are uint8 [n, h, w, 3]. A path is a sequence of images from one image
(t = 0) to another, uint8 [n, t, h, w, 3].
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
"""Bins of a histogram of gradient directions."""

GRIDS = (8, 4)
"""Histograms are computed for the cells of an 8 x 8 and of a 4 x 4 grid over the image."""

BOOTSTRAP_SAMPLES = 200
"""Samples from which a confidence interval is estimated."""

COMPONENTS = 64
"""Principal components that are kept: few enough to estimate their covariance."""

Images = UInt8[np.ndarray, "_ h w 3"]
Features = Float[np.ndarray, "_ d"]


def gradient_histograms(images: Images) -> Float[np.ndarray, "n d"]:
    """Describe images by histograms of oriented gradients, without normalisation by contrast.

    A normalised histogram (HOG) hardly changes with blur, and a cross-fade is blurred and doubled.
    So an entry is the square root of the mean gradient magnitude in a cell and a direction.
    Gradients are computed at full and at half resolution.

    Raises:
        UserError: the sides are not multiples of 16 pixels.

    Reference: Dalal & Triggs 2005, "Histograms of oriented gradients for human detection".
    """
    height, width = images.shape[1:3]
    multiple = 2 * GRIDS[0]
    if height % multiple or width % multiple:
        raise UserError(
            f"images of {height} x {width} pixels cannot be divided into cells for their features: "
            f"both sides must be multiples of {multiple}"
        )
    features = []
    level = luma(images) / 255.0
    for _ in range(2):
        dy, dx = np.gradient(level, axis=(1, 2))
        magnitude = np.hypot(dy, dx)
        # A gradient counts for the two nearest directions, in proportion to its nearness.
        direction = np.arctan2(dy, dx) % np.pi / np.pi * ORIENTATIONS
        lower = np.floor(direction)
        upper_share = direction - lower
        for k in range(ORIENTATIONS):
            share = np.where(lower % ORIENTATIONS == k, 1 - upper_share, 0.0)
            share += np.where((lower + 1) % ORIENTATIONS == k, upper_share, 0.0)
            for cells in GRIDS:
                features.append(_cell_means(magnitude * share, cells))
        n, h, w = level.shape
        level = level.reshape(n, h // 2, 2, w // 2, 2).mean(axis=(2, 4))
    return np.sqrt(np.concatenate(features, axis=1))


@dataclasses.dataclass(frozen=True)
class FeatureSpace:
    """The principal components of the gradient histograms of a set of images.

    They are orthonormal columns, those of the largest variance first.
    """

    mean: Float[np.ndarray, " d"]
    components: Float[np.ndarray, "d k"]

    @classmethod
    def fit(cls, images: Images, dimensions: int = COMPONENTS) -> "FeatureSpace":
        """Fit a space to natural images, which should not be measured with it later."""
        features = gradient_histograms(images)
        mean = features.mean(axis=0)
        _, _, rows = np.linalg.svd(features - mean, full_matrices=False)
        return cls(mean, rows[:dimensions].T)

    def __call__(self, images: Images) -> Features:
        """Compute the features of images."""
        return (gradient_histograms(images) - self.mean) @ self.components


def frechet_distance(a: Features, b: Features) -> float:
    """Squared Fréchet distance of normal distributions that are fitted to two sets of features.

    Reference: Heusel et al. 2017, "GANs trained by a two time-scale update rule", where the
    features are those of a network.
    """
    means = np.sum(np.square(a.mean(axis=0) - b.mean(axis=0)))
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of (cov_a cov_b)^(1/2), by a symmetric matrix that has the same eigenvalues.
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    trace = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    return max(float(means + np.trace(cov_a) + np.trace(cov_b) - 2 * trace), 0.0)


def gradient_energy(images: Images) -> Float[np.ndarray, " n"]:
    """Mean squared gradient of the luma of each image, in (grey levels per pixel)^2."""
    dy, dx = np.gradient(luma(images), axis=(-2, -1))
    return (np.square(dy) + np.square(dx)).mean(axis=(-2, -1))


def roughness(path: UInt8[np.ndarray, "n t h w 3"]) -> Float[np.ndarray, " n"]:
    """How much each path deviates from a straight line of equal steps in pixel space.

    The root mean square of second differences along t by that of first ones: 0 for a cross-fade,
    sqrt(3) for independent images.
    """
    first = np.diff(path.astype(np.float32), axis=1)
    second = np.diff(first, axis=1)
    first, second = (np.sqrt(np.square(x).mean(axis=(1, 2, 3, 4))) for x in (first, second))
    return second / np.maximum(first, 1e-9)


def confidence_interval(
    statistic: Callable[[np.ndarray], float], count: int
) -> tuple[float, float]:
    """Estimate the 95 % confidence interval of a statistic of ``count`` samples by the bootstrap.

    It is centred on the statistic of all samples, with the standard deviation of the bootstrap.
    Quantiles would be too high for a Fréchet distance, which grows when samples are repeated.
    """
    rng = np.random.default_rng(0)
    values = [statistic(rng.integers(count, size=count)) for _ in range(BOOTSTRAP_SAMPLES)]
    centre = statistic(np.arange(count))
    reach = NormalDist().inv_cdf(0.975) * float(np.std(values))
    return centre - reach, centre + reach


def distances(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> np.ndarray:
    """Euclidean distances of all pairs, [n, m]: for long points faster than SciPy's ``cdist``."""
    a, b = a.astype(np.float64), b.astype(np.float64)  # Large squares cancel.
    squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None]
    return np.sqrt(np.clip(squares - 2 * a @ b.T, 0, None))


def rank_correlation(a: Float[np.ndarray, "n n"], b: Float[np.ndarray, "n n"]) -> float:
    """Spearman's correlation of two distance matrices, over the entries above the diagonal."""
    above = np.triu_indices(len(a), 1)
    return float(np.asarray(spearmanr(a[above], b[above]))[0])


def rank_of_originals(
    originals: Float[np.ndarray, "n d"], copies: Float[np.ndarray, "n d"]
) -> np.ndarray:
    """Rank of each copy's own original among all originals by distance; 1 is the nearest."""
    to_all = distances(copies, originals)
    own = np.diag(to_all)
    return 1 + (to_all < own[:, None]).sum(axis=1)


def _cell_means(x: Float[np.ndarray, "n h w"], cells: int) -> Float[np.ndarray, "n d"]:
    n, h, w = x.shape
    return x.reshape(n, cells, h // cells, cells, w // cells).mean(axis=(2, 4)).reshape(n, -1)
