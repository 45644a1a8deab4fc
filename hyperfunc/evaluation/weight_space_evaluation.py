"""The evaluation of weight space: the claims of Klocek et al. 2019, Section 4.1, with numbers.

Test images are reconstructed. Pairs of them are interpolated in weight space and, for comparison,
in pixel space.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from hyperfunc.data import FACE_SIZES, ImageSource, open_dataset
from hyperfunc.errors import UserError
from hyperfunc.evaluation.statistics import FeatureSpace
from hyperfunc.evaluation.weight_space import ImageBatch, WeightSpace
from hyperfunc.evaluation.weight_space_figures import draw_figures
from hyperfunc.evaluation.weight_space_measures import (
    measure_interpolation,
    measure_layer_effects,
    measure_reconstruction,
    measure_similarity,
)
from hyperfunc.experiment import Model

FACES = ("faces", "celeb_a")
"""Datasets of faces, which come in `FACE_SIZES` only."""


class ImageSets(NamedTuple):
    """The images of an evaluation."""

    test: ImageSource
    """Images that the model was not trained on."""
    test_large: ImageSource | None
    """The same images at twice the size, if there are any."""
    others: ImageSource
    """Half of them define the space of features, the others are the reference for all sets."""


def open_image_sets(dataset: str, size: int, *, data_dir: Path | None) -> ImageSets:
    """Open the images of a dataset, or of a folder.

    A folder has no split of its own: every third image is a test image. ``size`` is the side of the
    images that the model was trained on, in pixels.

    Raises:
        UserError: there is no such dataset, or not at this size.
    """
    is_faces = dataset in FACES
    if is_faces and size not in FACE_SIZES:
        raise UserError(
            f"the model was trained on images of {size} pixels, and {dataset} come in "
            f"{FACE_SIZES}: give a folder of images as --dataset"
        )

    def open_at(size: int, split: str) -> ImageSource:
        return open_dataset(dataset, data_dir=data_dir, split=split, size=size)

    test, others = open_at(size, "test"), open_at(size, "train")
    if test.names == others.names:
        every_third = range(0, len(test), 3)
        others = test.select([i for i in range(len(test)) if i not in every_third])
        test = test.select(every_third)
    # Each half of the others has the size of the test set.
    count = min(2 * len(test), len(others))
    others = others.select([i * len(others) // count for i in range(count)])
    has_large = is_faces and 2 * size in FACE_SIZES
    return ImageSets(test, open_at(2 * size, "test") if has_large else None, others)


def evaluate_weight_space(
    model: Model, sets: ImageSets, *, pairs: int = 500, out: Path | None = None
) -> dict[str, Any]:
    """Measure everything, on random pairs of test images, and draw the figures into ``out``.

    The model was trained to reconstruct images. docs/reproduction.md explains the numbers.

    Raises:
        UserError: there are too few images, or they differ in size.
    """
    test, test_large, others = sets
    if len(test) < 2 or len(others) < 4 or pairs < 1:
        raise UserError(
            f"{test.description}: {len(test)} test images, {len(others)} other images and {pairs} "
            "pairs are too few: it takes 2, 4 and 1 at least"
        )
    images, other_images = _stack(test), _stack(others)
    space = WeightSpace(model, images.shape[1:3])
    half = len(other_images) // 2
    features, reference = FeatureSpace.fit(other_images[:half]), other_images[half:]
    theta = space.encode(images)
    rebuilt = space.render(theta)
    chosen = _choose_pairs(len(images), pairs)
    result = {
        "parameters": count_parameters(model.variables["params"]),
        "theta": count_parameters(theta) // len(images),
        "step": model.step,
        "reconstruction": measure_reconstruction(
            space, theta, images, rebuilt, list(test_large or ())
        ),
        **measure_interpolation(space, features, theta, images, rebuilt, reference, chosen),
        "similarity": measure_similarity(space, features, theta, images),
        "layers": measure_layer_effects(space, theta, chosen),
    }
    if out is not None:
        draw_figures(space, images, theta, rebuilt, chosen, out)
    return result


def summarize(result: dict[str, Any]) -> str:
    """Format the most important numbers as a table for a terminal."""
    rebuilt, energy = result["reconstruction"], result["gradient_energy"]
    lines = [
        f"{rebuilt['images']} images, {result['pairs']} pairs, {result['theta']} weights each",
        f"reconstruction       PSNR {rebuilt['psnr']:.2f} dB   SSIM {rebuilt['ssim']:.4f}",
        "Frechet distance to real images, with its 95 % interval",
    ]
    for name, value in result["frechet"].items():
        low, high = result["frechet_interval"][name]
        lines.append(f"  {name:<20}{value:8.3f}  [{low:.3f}, {high:.3f}]")
    lines.append("gradient energy halfway, relative to that of the two images")
    lines += [f"  {name:<20}{energy[name]:8.3f}" for name in ("weights_t50", "pixels_t50")]
    return "\n".join(lines)


def _stack(source: ImageSource) -> ImageBatch:
    images = list(source)
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        (a, b), (c, d) = sorted(sizes)[:2]
        raise UserError(
            f"{source.description}: images must have one size to be interpolated, and there are "
            f"{a} x {b} and {c} x {d} pixels: crop them first"
        )
    return np.stack(images)


def _choose_pairs(images: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Pair every image, about equally often, with another image at random."""
    rng = np.random.default_rng(0)
    first = np.concatenate([rng.permutation(images) for _ in range(-(-pairs // images))])
    second = (first + rng.integers(1, images, size=len(first))) % images
    return first[:pairs], second[:pairs]


def count_parameters(tree: Any) -> int:
    """Count the numbers in a pytree of arrays."""
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(tree))
