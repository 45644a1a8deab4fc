"""What is measured in weight space: reconstruction, interpolation, similarity, and layers.

Each function returns plain numbers for JSON; docs/reproduction.md explains them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from hyperfunc.evaluation.statistics import (
    FeatureSpace,
    confidence_interval,
    distances,
    frechet_distance,
    gradient_energy,
    rank_correlation,
    rank_of_originals,
    roughness,
)
from hyperfunc.evaluation.weight_space import (
    ImageBatch,
    WeightSpace,
    cross_fade,
    select,
    to_vectors,
)
from hyperfunc.images import to_uint8
from hyperfunc.networks import mix, order_layers
from hyperfunc.pixels import YCBCR, imresize, psnr_rgb, ssim_rgb
from hyperfunc.types import HostImage, Theta

TIMES = (0.25, 0.5, 0.75)
"""Where statistics are computed between two images (t = 0 and t = 1)."""

PATH_LENGTH = 9
"""Number of images from one image to another whose smoothness is measured."""


def measure_reconstruction(
    space: WeightSpace,
    theta: Theta,
    images: ImageBatch,
    rebuilt: ImageBatch,
    large_images: list[HostImage],
) -> dict[str, Any]:
    """Compare renderings with the images, and at twice the size with large images if there are any.

    The keys name the sizes of images of 64 x 64 pixels: "at_256_averaged" are renderings at four
    times the size, averaged over 2 x 2 pixels.
    """
    scores = {"psnr": _mean(psnr_rgb, images, rebuilt), "ssim": _mean(ssim_rgb, images, rebuilt)}
    scores["images"] = len(images)
    double = (2 * space.size[0], 2 * space.size[1])
    if [image.shape[:2] for image in large_images[:1]] == [double]:
        truth = np.stack(large_images)
        n, h, w, c = truth.shape
        quadruple = space.render(theta, 4).reshape(n, h, 2, w, 2, c)
        means = quadruple.mean(axis=(2, 4), dtype=np.float32)
        for name, results in {
            "at_128": space.render(theta, 2),
            "at_256_averaged": to_uint8(means / np.float32(255)),
            "bicubic_at_128": np.stack([imresize(image, double) for image in images]),
        }.items():
            scores[f"psnr_{name}"] = _mean(psnr_rgb, truth, results)
            scores[f"ssim_{name}"] = _mean(ssim_rgb, truth, results)
    return scores


def measure_interpolation(
    space: WeightSpace,
    features: FeatureSpace,
    theta: Theta,
    images: ImageBatch,
    rebuilt: ImageBatch,
    reference: ImageBatch,
    pairs: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """Compare interpolation in weight space with cross-fades, with 95 % confidence intervals.

    Fréchet distances of all sets, of the test images, too, are to the images of ``reference``.
    """
    first, second = pairs
    start, end = select(theta, first), select(theta, second)
    times = np.linspace(0, 1, PATH_LENGTH)
    path = np.stack([space.render(mix(start, end, t)) for t in times], axis=1)
    by_weights = {t: path[:, round(t * (PATH_LENGTH - 1))] for t in TIMES}
    by_pixels = {t: cross_fade(rebuilt[first], rebuilt[second], t) for t in TIMES}
    sets = {
        "real": images,
        "reconstruction": rebuilt,
        "blurred": np.stack([_blur(image) for image in images]),
    }
    for t in TIMES:
        sets[f"weights_{_name(t)}"] = by_weights[t]
        sets[f"pixels_{_name(t)}"] = by_pixels[t]
        sets[f"original_pixels_{_name(t)}"] = cross_fade(images[first], images[second], t)
    of_ends = (gradient_energy(rebuilt[first]) + gradient_energy(rebuilt[second])) / 2 + 1e-9
    energies = {
        f"{kind}_{_name(t)}": gradient_energy(results[t]) / of_ends
        for kind, results in (("weights", by_weights), ("pixels", by_pixels))
        for t in TIMES
    }
    bends = roughness(path)
    return {
        "pairs": len(first),
        **_measure_frechet_distances(features, reference, sets),
        "gradient_energy": {name: float(ratio.mean()) for name, ratio in energies.items()},
        "gradient_energy_interval": {
            name: _interval_of_mean(ratio) for name, ratio in energies.items()
        },
        "roughness": {"weights": float(bends.mean()), "interval": _interval_of_mean(bends)},
    }


def _measure_frechet_distances(
    features: FeatureSpace, reference: ImageBatch, sets: dict[str, ImageBatch]
) -> dict[str, Any]:
    of_reference = features(reference)
    values, intervals = {}, {}
    for name, images in sets.items():
        of_images = features(images)

        def distance(index: np.ndarray, of_images: np.ndarray = of_images) -> float:
            return frechet_distance(of_reference, of_images[index])

        values[name] = distance(np.arange(len(of_images)))
        intervals[name] = confidence_interval(distance, len(of_images))
    return {"frechet": values, "frechet_interval": intervals}


def measure_similarity(
    space: WeightSpace, features: FeatureSpace, theta: Theta, images: ImageBatch
) -> dict[str, Any]:
    """Measure whether similar images have similar weights.

    Weights are taken as they are, and divided by their standard deviation ("weights_scaled"). Of
    slightly changed copies it is measured how often the original is the nearest image.
    """
    spread = to_vectors(theta).std(axis=0) + 1e-8

    def describe(theta: Theta, images: ImageBatch) -> dict[str, Float[np.ndarray, "n d"]]:
        weights, pixels = to_vectors(theta), to_vectors(images / np.float32(255))
        return {"weights": weights, "weights_scaled": weights / spread, "pixels": pixels}

    points = describe(theta, images)
    of_images = features(images)
    matrices = {name: distances(values, values) for name, values in points.items()}
    matrices["features"] = distances(of_images, of_images)
    result: dict[str, Any] = {}
    for name in ("weights", "weights_scaled"):
        own, others = matrices[name], {other: matrices[other] for other in ("pixels", "features")}
        result[name] = {
            f"rank_correlation_with_{other}": rank_correlation(own, matrix)
            for other, matrix in others.items()
        } | {
            f"nearest_is_nearest_in_{other}": _share_with_same_nearest(own, matrix)
            for other, matrix in others.items()
        }
    correlation = rank_correlation(matrices["pixels"], matrices["features"])
    result["pixels"] = {"rank_correlation_with_features": correlation}
    copies = {
        "shifted_2_pixels": np.roll(images, 2, axis=2),
        "brighter_by_a_fifth": np.clip(images * 1.2, 0, 255).astype(np.uint8),
        "mirrored": images[:, :, ::-1],
    }
    for copy, changed in copies.items():
        for name, values in describe(space.encode(changed), changed).items():
            ranks = rank_of_originals(points[name], values)
            result[name][f"rank_of_{copy}"] = {
                "median": float(np.median(ranks)),
                "first": float((ranks == 1).mean()),
            }
    return result


def measure_layer_effects(
    space: WeightSpace, theta: Theta, pairs: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Measure what an image changes by when one layer is replaced by that of another image.

    Each number is a root mean square in grey levels: of the mean change of luma ("brightness"), of
    the rest of it ("structure"), and of the change of Cb and Cr ("chroma").
    """
    start, end = (select(theta, index) for index in pairs)
    before = _to_ycbcr(space.render(start))
    names = order_layers(theta)
    choices: dict[str, list[str]] = {**{name: [name] for name in names}, "all": names}
    result = {}
    for name, layers in choices.items():
        change = _to_ycbcr(space.render(mix(start, end, 1.0, layers))) - before
        means = change.mean(axis=(1, 2), keepdims=True)
        result[name] = {
            "structure": _root_mean_square((change - means)[..., 0]),
            "brightness": _root_mean_square(means[..., 0]),
            "chroma": _root_mean_square(change[..., 1:]),
        }
    return result


def _name(t: float) -> str:
    return f"t{round(100 * t)}"


def _interval_of_mean(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    return confidence_interval(lambda index: float(values[index].mean()), len(values))


def _blur(image: HostImage) -> HostImage:
    """Reduce and enlarge an image, for a set that is natural except for its lack of detail."""
    height, width = image.shape[:2]
    small = imresize(image, (round(height / 1.5), round(width / 1.5)))
    return imresize(small, (height, width))


def _mean(
    measure: Callable[[HostImage, HostImage], float], truth: ImageBatch, images: ImageBatch
) -> float:
    return float(np.mean([measure(a, b) for a, b in zip(truth, images, strict=True)]))


def _share_with_same_nearest(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the images whose nearest image is the same in two matrices of distances."""
    nearest = [np.argmin(m + np.diag(np.full(len(m), np.inf)), axis=1) for m in (a, b)]
    return float((nearest[0] == nearest[1]).mean())


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _to_ycbcr(images: ImageBatch) -> Float[np.ndarray, "n h w 3"]:
    """Convert to ITU-R BT.601 without its offsets, in grey levels."""
    return images @ YCBCR.T.astype(np.float32)
