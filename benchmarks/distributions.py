"""Distributions of points such as theta: principal components, and mixtures of Gaussians.

Host code in NumPy. Points are float [n, d]; there may be fewer of them than dimensions.
"""

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy.cluster.vq import kmeans2
from scipy.special import logsumexp, softmax

ITERATIONS = 100
"""Steps of expectation and maximization, which end when the likelihood grows by less than 1e-4."""

RIDGE = 1e-3
"""What is added to the variances of a mixture, as a part of the mean variance of the points."""

Points = Float[np.ndarray, "_ d"]


@dataclasses.dataclass(frozen=True)
class PrincipalComponents:
    """The axes along which points vary most.

    Attributes:
        mean: of the points.
        axes: orthonormal rows, the one of the largest variance first.
        share: part of the variance of the points that lies along each axis.
    """

    mean: Float[np.ndarray, " d"]
    axes: Float[np.ndarray, "k d"]
    share: Float[np.ndarray, " k"]

    @classmethod
    def fit(cls, points: Points, count: int) -> "PrincipalComponents":
        """Compute the first ``count`` axes.

        Raises:
            ValueError: the points, less their mean, don't span so many dimensions.
        """
        mean = points.mean(axis=0)
        centred = points - mean
        # The eigenvectors of the products of all pairs: faster than a singular value decomposition
        # of points that have more dimensions than there are points.
        values, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
        values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
        total = np.square(centred, dtype=np.float64).sum()
        if count < 1 or len(values) < count or values[-1] <= 1e-9 * total:
            raise ValueError(f"{count} axes of {len(points)} points: they span fewer dimensions")
        axes = (vectors / np.sqrt(values)).T.astype(points.dtype) @ centred
        return cls(mean, axes, values / total)

    def project(self, points: Points) -> Float[np.ndarray, "_ k"]:
        """Compute coordinates along the axes."""
        return (points - self.mean) @ self.axes.T

    def expand(self, coordinates: Float[np.ndarray, "_ k"]) -> Points:
        """Compute the points that have these coordinates."""
        return (self.mean + coordinates @ self.axes).astype(self.mean.dtype)


@dataclasses.dataclass(frozen=True)
class GaussianMixture:
    """A mixture of normal distributions, fitted by expectation-maximization; one is a Gaussian.

    Attributes:
        weights: probability of each part.
        means: of each part.
        covariances: of each part.

    Reference: Dempster, Laird & Rubin 1977.
    """

    weights: Float[np.ndarray, " m"]
    means: Float[np.ndarray, "m d"]
    covariances: Float[np.ndarray, "m d d"]

    @classmethod
    def fit(cls, points: Points, parts: int = 1, *, seed: int = 0) -> "GaussianMixture":
        """Fit to points, starting from the clusters of k-means.

        Raises:
            ValueError: there are fewer points than two for each part.
        """
        if parts < 1 or len(points) < 2 * parts:
            raise ValueError(f"a mixture of {parts} parts for {len(points)} points")
        points = points.astype(np.float64)
        labels = kmeans2(points, parts, minit="++", rng=np.random.default_rng(seed))[1]
        mixture = cls._of_shares(points, np.eye(parts)[labels])
        before = -np.inf
        for _ in range(ITERATIONS if parts > 1 else 0):
            logarithms = mixture._log_densities(points)
            now = np.mean(logsumexp(logarithms, axis=1))
            if now - before < 1e-4:
                break
            before = now
            mixture = cls._of_shares(points, softmax(logarithms, axis=1))
        return mixture

    @classmethod
    def _of_shares(cls, points: Points, shares: Float[np.ndarray, "n m"]) -> "GaussianMixture":
        """Fit each part to its share of each point."""
        counts = shares.sum(axis=0) + 1e-9
        means = shares.T @ points / counts[:, None]
        ridge = RIDGE * points.var(axis=0).mean() * np.eye(points.shape[1])
        covariances = []
        for share, count, mean in zip(shares.T, counts, means, strict=True):
            centred = points - mean
            covariances.append((share[:, None] * centred).T @ centred / count + ridge)
        return cls(counts / counts.sum(), means, np.stack(covariances))

    def log_likelihood(self, points: Points) -> float:
        """Compute the mean logarithm of the density at points."""
        return float(np.mean(logsumexp(self._log_densities(points), axis=1)))

    def sample(self, count: int, *, seed: int = 0) -> Points:
        """Draw points."""
        rng = np.random.default_rng(seed)
        part = rng.choice(len(self.weights), size=count, p=self.weights)
        noise = rng.standard_normal((count, self.means.shape[1]))
        factors = np.linalg.cholesky(self.covariances)
        return self.means[part] + np.einsum("nij,nj->ni", factors[part], noise)

    def _log_densities(self, points: Points) -> Float[np.ndarray, "n m"]:
        """Compute the logarithm of each part's weight and density at each point."""
        columns = []
        for weight, mean, covariance in zip(
            self.weights, self.means, self.covariances, strict=True
        ):
            factor = np.linalg.cholesky(covariance)
            scaled = np.linalg.solve(factor, (points - mean).T)
            constant = np.log(2 * np.pi) * len(mean) / 2 + np.log(np.diag(factor)).sum()
            columns.append(np.log(weight) - constant - np.square(scaled).sum(axis=0) / 2)
        return np.stack(columns, axis=1)
