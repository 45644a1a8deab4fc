"""Evaluation of the space of target networks' weights: the paper's Section 4.1, with numbers.

Reconstruct test faces, walk between pairs of them in weight space and in pixel space, and measure
what lies on the way; ask whether similar images have similar weights, and what each layer does.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from hyperfunc.data import ImageSource
from hyperfunc.errors import UserError
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
from hyperfunc.evaluation.walks import STEPS, Batch, WeightSpace, cross_fade, draw_figures
from hyperfunc.experiment import Model
from hyperfunc.images import to_uint8
from hyperfunc.networks import mix, order_layers
from hyperfunc.pixels import YCBCR, imresize, psnr_rgb, ssim_rgb
from hyperfunc.types import HostImage, Theta

TIMES = (0.25, 0.5, 0.75)
"""Where statistics are taken between two images."""


def evaluate_weight_space(
    model: Model,
    test: ImageSource,
    test_large: ImageSource | None,
    real: ImageSource,
    *,
    pairs: int = 500,
    out: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure everything, and draw the paper's figures.

    Args:
        model: a trained reconstruction.
        test: images that were not trained on, of the size of the task.
        test_large: the same at twice the size, the truth for larger renderings, if there are any.
        real: other real images: one half for the space of features, the other as the reference
            that every set is compared with, the test images themselves included.
        pairs: random pairs of test images to walk between.
        out: folder of the figures, if given.
        seed: of the pairs.

    Returns:
        The numbers, ready for JSON; what they mean is in docs/reproduction.md.

    Raises:
        UserError: there are fewer than two test images.
    """
    if len(test) < 2 or len(real) < 4 or pairs < 1:
        raise UserError(
            f"{test.description}: {len(test)} test images, {len(real)} other real ones and {pairs} "
            "pairs are too few: it takes 2, 4 and 1 at least"
        )
    faces, others = _stack(test), _stack(real)
    space = WeightSpace(model, faces.shape[1:3])
    half = len(others) // 2
    features = FeatureSpace.fit(others[:half])
    theta = space.encode(faces)
    rebuilt = space.render(theta)
    result: dict[str, Any] = {
        "parameters": _count(model.variables["params"]),
        "theta": _count(theta) // len(faces),
        "step": model.step,
        "reconstruction": _reconstruction(space, theta, faces, rebuilt, list(test_large or ())),
    }

    rng = np.random.default_rng(seed)
    first = np.concatenate([rng.permutation(len(faces)) for _ in range(-(-pairs // len(faces)))])
    second = (first + rng.integers(1, len(faces), size=len(first))) % len(faces)
    ends = first[:pairs], second[:pairs]
    result |= _paths(space, features, theta, faces, others[half:], rebuilt, ends)
    result["similarity"] = _similarity(space, features, theta, faces)
    result["layers"] = _layer_effects(space, theta, ends)
    if out is not None:
        draw_figures(space, faces, theta, rebuilt, ends, out)
    return result


def _stack(source: ImageSource) -> Batch:
    images = list(source)
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        (a, b), (c, d) = sorted(sizes)[:2]
        raise UserError(
            f"{source.description}: images must have one size to be walked between, and there are "
            f"{a} x {b} and {c} x {d} pixels: crop them first"
        )
    return np.stack(images)


def summarize(result: dict[str, Any]) -> str:
    """A short table for a terminal."""
    rebuilt, energy = result["reconstruction"], result["gradient_energy"]
    lines = [
        f"{rebuilt['images']} images, {result['pairs']} pairs, {result['theta']} weights each",
        f"reconstruction       PSNR {rebuilt['psnr']:.2f} dB   SSIM {rebuilt['ssim']:.4f}",
        "Frechet distance to real images, with its 95 % interval",
    ]
    for name, value in result["frechet"].items():
        low, high = result["frechet_interval"][name]
        lines.append(f"  {name:<20}{value:8.3f}  [{low:.3f}, {high:.3f}]")
    lines.append("gradient energy in the middle, as a part of that at the ends")
    lines += [f"  {name:<20}{energy[name]:8.3f}" for name in ("weights_t50", "pixels_t50")]
    return "\n".join(lines)


def _reconstruction(
    space: WeightSpace, theta: Theta, faces: Batch, rebuilt: Batch, large: list[HostImage]
) -> dict[str, Any]:
    scores = {"psnr": _mean(psnr_rgb, faces, rebuilt), "ssim": _mean(ssim_rgb, faces, rebuilt)}
    scores["images"] = len(faces)
    double = (2 * space.size[0], 2 * space.size[1])
    if [image.shape[:2] for image in large[:1]] == [double]:
        truth = np.stack(large)
        at_double = space.render(theta, 2)
        at_quadruple = space.render(theta, 4)
        n, h, w, c = truth.shape
        means = at_quadruple.reshape(n, h, 2, w, 2, c).mean(axis=(2, 4), dtype=np.float32)
        bicubic = np.stack([imresize(face, double) for face in faces])
        for name, images in {
            "at_128": at_double,
            "at_256_averaged": to_uint8(means / np.float32(255)),
            "bicubic_at_128": bicubic,
        }.items():
            scores[f"psnr_{name}"] = _mean(psnr_rgb, truth, images)
            scores[f"ssim_{name}"] = _mean(ssim_rgb, truth, images)
    return scores


def _paths(
    space: WeightSpace,
    features: FeatureSpace,
    theta: Theta,
    faces: Batch,
    others: Batch,
    rebuilt: Batch,
    ends: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """Fréchet distances, gradient energy and smoothness between pairs, with 95 % intervals."""
    first, second = ends
    one, two = (jax.tree.map(lambda leaf, i=i: leaf[i], theta) for i in ends)
    # Other faces than those that are reconstructed, so that every set is as far from home.
    reference = features(others)

    def frechet(images: Batch) -> dict[str, Any]:
        values = features(images)
        return {
            "value": frechet_distance(reference, values),
            "interval": confidence_interval(
                lambda i: frechet_distance(reference, values[i]), len(values)
            ),
        }

    middle = {
        "real": faces,
        "reconstruction": rebuilt,
        "blurred": np.stack([_blur(face) for face in faces]),
    }
    fades = {t: cross_fade(rebuilt[first], rebuilt[second], t) for t in TIMES}
    path = np.stack([space.render(mix(one, two, t)) for t in np.linspace(0, 1, STEPS)], axis=1)
    walks = {t: path[:, round(t * (STEPS - 1))] for t in TIMES}
    originals = {t: cross_fade(faces[first], faces[second], t) for t in TIMES}
    for t in TIMES:
        suffix = f"t{round(100 * t)}"
        middle |= {
            f"weights_{suffix}": walks[t],
            f"pixels_{suffix}": fades[t],
            f"original_pixels_{suffix}": originals[t],
        }
    distance = {name: frechet(images) for name, images in middle.items()}

    energy_ends = (gradient_energy(rebuilt[first]) + gradient_energy(rebuilt[second])) / 2 + 1e-9
    energy, energy_interval = {}, {}
    for kind, images in (("weights", walks), ("pixels", fades)):
        for t in TIMES:
            ratio = gradient_energy(images[t]) / energy_ends
            name = f"{kind}_t{round(100 * t)}"
            energy[name] = float(ratio.mean())
            energy_interval[name] = confidence_interval(
                lambda i, r=ratio: float(r[i].mean()), len(ratio)
            )

    bends = roughness(path)
    return {
        "pairs": len(first),
        "frechet": {name: entry["value"] for name, entry in distance.items()},
        "frechet_interval": {name: entry["interval"] for name, entry in distance.items()},
        "gradient_energy": energy,
        "gradient_energy_interval": energy_interval,
        "roughness": {
            "weights": float(bends.mean()),
            "interval": confidence_interval(lambda i: float(bends[i].mean()), len(bends)),
        },
    }


def _similarity(
    space: WeightSpace, features: FeatureSpace, theta: Theta, faces: Batch
) -> dict[str, Any]:
    """Do similar images have similar weights? Raw weights, and divided by their deviation."""
    flat = _flatten(theta)
    pixels = faces.reshape(len(faces), -1) / np.float32(255)
    spread = flat.std(axis=0) + 1e-8
    spaces = {"weights": flat, "weights_scaled": flat / spread, "pixels": pixels}
    matrices = {name: distances(points, points) for name, points in spaces.items()}
    seen = features(faces)
    matrices["features"] = distances(seen, seen)
    copies = {
        "shifted_2_pixels": np.roll(faces, 2, axis=2),
        "brighter_by_a_fifth": np.clip(faces * 1.2, 0, 255).astype(np.uint8),
        "mirrored": faces[:, :, ::-1],
    }
    result: dict[str, Any] = {}
    for name in ("weights", "weights_scaled"):
        result[name] = {
            "rank_correlation_with_pixels": rank_correlation(matrices[name], matrices["pixels"]),
            "rank_correlation_with_features": rank_correlation(
                matrices[name], matrices["features"]
            ),
            "nearest_is_nearest_in_pixels": _shared_nearest(matrices[name], matrices["pixels"]),
            "nearest_is_nearest_in_features": _shared_nearest(matrices[name], matrices["features"]),
        }
    result["pixels"] = {
        "rank_correlation_with_features": rank_correlation(matrices["pixels"], matrices["features"])
    }
    for copy, images in copies.items():
        moved = _flatten(space.encode(images))
        for name, points, others in (
            ("weights", flat, moved),
            ("weights_scaled", flat / spread, moved / spread),
            ("pixels", pixels, images.reshape(len(images), -1) / np.float32(255)),
        ):
            ranks = rank_of_originals(points, others)
            result[name][f"rank_of_{copy}"] = {
                "median": float(np.median(ranks)),
                "first": float((ranks == 1).mean()),
            }
    return result


def _layer_effects(
    space: WeightSpace, theta: Theta, ends: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """What exchanging one layer changes: luminance structure, brightness and chroma.

    Root mean squares in grey levels: of the change of luma less its mean over the image, of that
    mean, and of the change of the two chroma channels.
    """
    one, two = (jax.tree.map(lambda leaf, i=i: leaf[i], theta) for i in ends)
    before = space.render(one)
    result = {}
    for name, layers in {**{name: [name] for name in order_layers(theta)}, "all": None}.items():
        change = _to_ycbcr(space.render(mix(one, two, 1.0, layers))) - _to_ycbcr(before)
        means = change.mean(axis=(1, 2), keepdims=True)
        rms = lambda x: float(np.sqrt(np.square(x).mean()))  # noqa: E731
        result[name] = {
            "structure": rms((change - means)[..., 0]),
            "brightness": rms(means[..., 0]),
            "chroma": rms(change[..., 1:]),
        }
    return result


def _blur(image: HostImage) -> HostImage:
    """Reduce and enlarge: what loses as much detail as a cross-fade of two faces loses contrast."""
    height, width = image.shape[:2]
    small = imresize(image, (round(height / 1.5), round(width / 1.5)))
    return imresize(small, (height, width))


def _mean(measure: Callable[[HostImage, HostImage], float], truth: Batch, images: Batch) -> float:
    return float(np.mean([measure(a, b) for a, b in zip(truth, images, strict=True)]))


def _count(tree: Any) -> int:
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(tree))


def _flatten(theta: Theta) -> Float[np.ndarray, "n d"]:
    leaves = jax.tree.leaves(theta)
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def _shared_nearest(a: np.ndarray, b: np.ndarray) -> float:
    """Part of the images whose nearest neighbour is the same by both distances."""
    nearest = [np.argmin(m + np.diag(np.full(len(m), np.inf)), axis=1) for m in (a, b)]
    return float((nearest[0] == nearest[1]).mean())


def _to_ycbcr(images: Batch) -> Float[np.ndarray, "n h w 3"]:
    """ITU-R BT.601, in grey levels."""
    return images @ YCBCR.T.astype(np.float32)
