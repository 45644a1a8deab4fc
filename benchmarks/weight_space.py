"""How far theta carries: retrieval, clusters, means, arithmetic, extrapolation and samples.

    python -m benchmarks.weight_space --checkpoint=faces_small --data_dir=DATA

Theta is compared with pixels, and with the gradient features of `hyperfunc.evaluation`. Fréchet
distances are to the same 500 training faces as those of `evaluate.py --task=interpolate`. Writes
docs/results/weight_space.json.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from scipy.cluster.vq import kmeans2, vq

from benchmarks.distributions import GaussianMixture, PrincipalComponents
from hyperfunc.commands import report_errors
from hyperfunc.data import ImageSource, open_dataset
from hyperfunc.devices import use_cpu_cores
from hyperfunc.evaluation import (
    FeatureSpace,
    WeightSpace,
    confidence_interval,
    cross_fade,
    distances,
    frechet_distance,
    gradient_energy,
    rank_of_originals,
    to_theta,
    to_vectors,
)
from hyperfunc.experiment import load_model
from hyperfunc.files import save_json
from hyperfunc.images import to_uint8
from hyperfunc.pixels import luma, psnr_rgb, ssim_rgb

TIMES = (0.5, 1.25, 1.5, 2.0)
"""Where a line through two faces (t = 0 and t = 1) is measured. Over random pairs, -1 is as 2."""

CLUSTERS, FITS = 10, 5
"""Clusters of k-means, and how often it is repeated from other centres."""

COMPONENTS = 64
"""Principal components of theta and of pixels from which faces are drawn."""

ADDED = 200
"""Test faces that a known change is added to, each that of the face before it."""

PARTS = 8
"""Parts of a mixture."""

NEIGHBOURS = 10
"""Nearest faces that are compared between spaces."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure a weight space.

    Attributes:
        checkpoint: a model that was trained to reconstruct faces: a workdir, or a bundled name.
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        fit: number of training faces to which distributions are fitted.
        out: the file of the results.
    """

    checkpoint: str = "faces_small"
    data_dir: Path | None = None
    fit: int = 1_500
    out: Path = Path("docs/results/weight_space.json")


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "moved_4_pixels": lambda x: np.pad(x, ((0, 0), (0, 0), (4, 0), (0, 0)), "edge")[:, :, :-4],
    "brighter": lambda x: to_uint8(x * np.float32(1.3 / 255)),
    "warmer": lambda x: to_uint8(x * np.array([1.15, 1, 0.8]) / 255),
    "mirrored": lambda x: x[:, :, ::-1],
    "noisy": lambda x: to_uint8(x / 255 + np.random.default_rng(0).normal(0, 25 / 255, x.shape)),
}

PAIRS = (("theta", "pixels"), ("theta", "features"), ("pixels", "features"))
SUMMANDS = ("brighter", "warmer", "moved_4_pixels", "mirrored")
"""The changes that arithmetic is tried with."""


class Faces:
    """Test faces with their theta, the means to render theta, and what sets are compared with."""

    def __init__(self, arguments: Arguments) -> None:
        """Encode the test faces."""
        model = load_model(arguments.checkpoint)
        side = model.experiment.task.observed_size[0]
        self.images = stack(open_dataset("faces", data_dir=arguments.data_dir, size=side))
        train = open_dataset("faces", data_dir=arguments.data_dir, split="train", size=side)
        count = 2 * len(self.images)
        others = [i * len(train) // count for i in range(count)]  # As `evaluate` chooses them.
        other_images = stack(train.select(others))
        self.features = FeatureSpace.fit(other_images[: count // 2])
        self.reference = self.features(other_images[count // 2 :])
        rest = np.setdiff1d(np.arange(len(train)), others)
        chosen = np.random.default_rng(0).choice(rest, arguments.fit, replace=False)
        self.train_images = stack(train.select(chosen.tolist()))
        self.space = WeightSpace(model, (side, side))
        self._like = self.space.encode(self.images)
        self.theta = to_vectors(self._like)
        self.rebuilt = self.render(self.theta)
        self.train = self.encode(self.train_images)
        shifts = np.random.default_rng(0).integers(1, len(self.images), (2, len(self.images)))
        self.partners = (np.arange(len(self.images)) + shifts) % len(self.images)
        """Two others for each face, at random."""
        self.facts = {"step": model.step, "theta": self.theta.shape[1], "fitted": arguments.fit}

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Encode images as vectors."""
        return to_vectors(self.space.encode(images))

    def render(self, vectors: np.ndarray) -> np.ndarray:
        """Render vectors of theta."""
        return self.space.render(to_theta(vectors.astype(np.float32), self._like))

    def describe(self, images: np.ndarray) -> dict[str, Any]:
        """Measure a set of images; gradient energy is relative to that of the reconstructions."""
        features = self.features(images)

        def distance(index: np.ndarray) -> float:
            return frechet_distance(self.reference, features[index])

        energy = gradient_energy(images).mean() / gradient_energy(self.rebuilt).mean()
        return {
            "frechet": distance(np.arange(len(images))),
            "interval": confidence_interval(distance, len(images)),
            "gradient_energy": float(energy),
            "at_limits": float(((images == 0) | (images == 255)).mean()),
        }

    @functools.cached_property
    def own_points(self) -> dict[str, np.ndarray]:
        """The `points` of the test faces."""
        return {**self.points(self.images), "theta": self.theta}

    def points(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Describe images by theta, pixels and features."""
        kinds = {"theta": self.encode, "pixels": flatten, "features": self.features}
        return {kind: encode(images) for kind, encode in kinds.items()}


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores(1)
        faces = Faces(arguments)
        result: dict[str, Any] = {"checkpoint": arguments.checkpoint, **faces.facts}
        result["psnr"] = mean(psnr_rgb, faces.images, faces.rebuilt)
        result["ssim"] = mean(ssim_rgb, faces.images, faces.rebuilt)
        result["real"] = faces.describe(faces.images)
        result["reconstructed"] = faces.describe(faces.rebuilt)
        for measure in (retrieval, extrapolation, sampling, arithmetic, means, clusters):
            result[measure.__name__] = measure(faces)
            save_json(arguments.out, result)


def retrieval(faces: Faces) -> dict[str, Any]:
    """Find the original of a changed copy among all test faces, and compare neighbours."""
    points = faces.own_points
    result: dict[str, Any] = {}
    for name, change in CHANGES.items():
        copies = faces.points(change(faces.images))
        ranks = {kind: rank_of_originals(points[kind], copies[kind]) for kind in points}
        result[name] = {
            kind: {"first": float((rank == 1).mean()), "median_rank": float(np.median(rank))}
            for kind, rank in ranks.items()
        }
    nearest = {}
    for kind, values in points.items():
        apart = distances(values, values) + np.diag(np.full(len(values), np.inf))
        nearest[kind] = np.argsort(apart, axis=1)[:, :NEIGHBOURS]
    for one, two in PAIRS:
        common = [len(set(a) & set(b)) for a, b in zip(nearest[one], nearest[two], strict=True)]
        result[f"common_neighbours_{one}_{two}"] = float(np.mean(common) / NEIGHBOURS)
    return result


def clusters(faces: Faces) -> dict[str, Any]:
    """Compare clusters without labels, which the data lack.

    "stability" is the agreement of k-means from other centres, "mirrored" that of faces with their
    mirrored copies. Agreements are adjusted Rand indices. "explained" is the part of the variance
    of some measured properties that lies between clusters.
    """
    luminance = luma(faces.images)
    properties = {
        "brightness": luminance.mean(axis=(1, 2)),
        "light_from_the_left": luminance[:, :, :32].mean((1, 2))
        - luminance[:, :, 32:].mean((1, 2)),
        "sharpness": np.log(gradient_energy(faces.images)),
    }
    mirrored = faces.points(faces.images[:, :, ::-1])
    result, labels = {}, {}
    for kind, values in faces.own_points.items():
        axes = PrincipalComponents.fit(values, 64)
        points = axes.project(values).astype(np.float64)
        fits = [
            kmeans2(points, CLUSTERS, minit="++", rng=np.random.default_rng(seed))
            for seed in range(FITS)
        ]
        labels[kind] = [label for _, label in fits]
        copies = vq(axes.project(mirrored[kind]).astype(np.float64), fits[0][0])[0]
        pairs = [(a, b) for i, a in enumerate(labels[kind]) for b in labels[kind][:i]]
        result[kind] = {
            "stability": float(np.mean([rand_index(a, b) for a, b in pairs])),
            "mirrored": rand_index(labels[kind][0], copies),
            "explained": {
                name: float(np.mean([explained(x, label) for label in labels[kind]]))
                for name, x in properties.items()
            },
        }
    for one, two in PAIRS:
        both = [rand_index(a, b) for a in labels[one] for b in labels[two]]
        result[f"agreement_{one}_{two}"] = float(np.mean(both))
    return result


def means(faces: Faces) -> dict[str, Any]:
    """Average several faces, by their weights and by the pixels of their reconstructions."""
    rng, result = np.random.default_rng(0), {}
    count = len(faces.theta)
    for size in (2, 4, 16):
        groups = np.stack([rng.choice(count, size, replace=False) for _ in range(count)])
        result[f"weights_{size}"] = faces.describe(faces.render(faces.theta[groups].mean(axis=1)))
        pixels = faces.rebuilt[groups].mean(axis=1, dtype=np.float32) / np.float32(255)
        result[f"pixels_{size}"] = faces.describe(to_uint8(pixels))
    return result


def arithmetic(faces: Faces) -> dict[str, Any]:
    """Add the difference of two faces, a - b, to a third one, c.

    Where a is a changed copy of b, the answer is known: the changed copy of c. PSNR is to the
    reconstruction of this copy. "mean_weights" adds the mean difference of all other faces.
    """
    other, another = faces.partners
    rebuilt = faces.rebuilt.astype(np.float32)
    result: dict[str, Any] = {}
    for name in SUMMANDS:
        changed = faces.encode(CHANGES[name](faces.images[:ADDED]))
        theta, old, new = faces.theta[:ADDED], rebuilt[:ADDED], faces.render(changed)
        difference = changed - theta
        mean_difference = (difference.sum(axis=0) - difference) / (ADDED - 1)
        b = np.roll(np.arange(ADDED), 1)
        in_pixels = new[b] - old[b] + old
        result[name] = {
            "psnr_of_c": mean(psnr_rgb, new, faces.rebuilt[:ADDED]),
            "weights": mean(psnr_rgb, new, faces.render(theta + difference[b])),
            "mean_weights": mean(psnr_rgb, new, faces.render(theta + mean_difference)),
            "pixels": mean(psnr_rgb, new, to_uint8(in_pixels / np.float32(255))),
        }
    sums = faces.theta[other] - faces.theta[another] + faces.theta
    in_pixels = rebuilt[other] - rebuilt[another] + rebuilt
    result["any_three_faces"] = {
        "weights": faces.describe(faces.render(sums)),
        "pixels": faces.describe(to_uint8(in_pixels / np.float32(255))),
    }
    return result


def extrapolation(faces: Faces) -> dict[str, Any]:
    """Walk through two faces and beyond, by weights and by the pixels of their reconstructions."""
    other = faces.partners[0]
    a, b = faces.rebuilt, faces.rebuilt[other]
    result = {}
    for t in TIMES:
        vectors = faces.theta + t * (faces.theta[other] - faces.theta)
        result[f"weights_{t:g}"] = faces.describe(faces.render(vectors))
        result[f"pixels_{t:g}"] = faces.describe(cross_fade(a, b, t))
    return result


def sampling(faces: Faces) -> dict[str, Any]:
    """Draw faces from distributions that are fitted to theta, or to the pixels of training faces.

    "cut" are the test faces themselves, less what the components leave out. "variance" is the part
    of the variance of the training faces that the components hold. Likelihoods are of test faces.
    """
    result: dict[str, Any] = {}
    for kind, known, own in (
        ("theta", faces.train, faces.theta),
        ("pixels", flatten(faces.train_images), flatten(faces.images)),
    ):

        def draw(vectors: np.ndarray, kind: str = kind) -> np.ndarray:
            if kind == "theta":
                return faces.render(vectors)
            return to_uint8(vectors.astype(np.float32).reshape(-1, *faces.images.shape[1:]))

        axes = PrincipalComponents.fit(known, COMPONENTS)
        points, held_out = axes.project(known), axes.project(own)
        cut = draw(axes.expand(held_out))
        result[kind] = {
            "variance": float(axes.share.sum()),
            "cut_psnr": mean(psnr_rgb, faces.images, cut),
            "cut": faces.describe(cut),
        }
        for name, parts in (("gaussian", 1), ("mixture", PARTS)):
            mixture = GaussianMixture.fit(points, parts)
            drawn = draw(axes.expand(mixture.sample(len(own), seed=1)))
            likelihood = mixture.log_likelihood(held_out)
            result[kind][name] = {**faces.describe(drawn), "log_likelihood": likelihood}
    return result


def flatten(images: np.ndarray) -> np.ndarray:
    """Lay the pixels of each image in a row, in [0, 1]."""
    return to_vectors(images / np.float32(255))


def stack(source: ImageSource) -> np.ndarray:
    """Read all images."""
    return np.stack(list(source))


def rand_index(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the agreement of two clusterings: 1 if they are equal, 0 on average by chance.

    Reference: Hubert & Arabie 1985, "Comparing partitions".
    """
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(x: np.ndarray) -> float:
        return float((x * (x - 1) / 2).sum())

    rows, columns = pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    by_chance = rows * columns / pairs(np.array([len(a)]))
    return (pairs(table) - by_chance) / ((rows + columns) / 2 - by_chance)


def explained(values: np.ndarray, labels: np.ndarray) -> float:
    """Compute the part of the variance that lies between clusters."""
    centres = np.array([values[labels == label].mean() for label in labels])
    return float(centres.var() / values.var())


def mean(measure: Callable[[Any, Any], float], truth: np.ndarray, images: np.ndarray) -> float:
    """Average a measure over pairs of images."""
    return float(np.mean([measure(a, b) for a, b in zip(truth, images, strict=True)]))


if __name__ == "__main__":
    main()
