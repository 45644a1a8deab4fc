"""The images for the evaluation of the weight space: test images and a reference."""

import dataclasses
from pathlib import Path

from hyperfunc.data import FACE_SIZES, ImageSource, open_dataset
from hyperfunc.errors import UserError

FACES = ("faces", "celeb_a")
"""Datasets of faces, which come in `FACE_SIZES` only."""


@dataclasses.dataclass(frozen=True)
class ImageSets:
    """Images that the model was not trained on, and images to compare sets with.

    Attributes:
        test: images to reconstruct, of the size that the model was trained on.
        test_large: the same images at twice the size, if the dataset has them.
        reference: other images, up to twice as many as in ``test``.
    """

    test: ImageSource
    test_large: ImageSource | None
    reference: ImageSource


def open_image_sets(dataset: str, size: int, *, data_dir: Path | None) -> ImageSets:
    """Open the images of a dataset, or of a folder.

    A folder has no split of its own: every third image is a test image.

    Args:
        dataset: its name, or a folder of images.
        size: side of the images that the model was trained on, in pixels.
        data_dir: where datasets are.

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

    test, reference = open_at(size, "test"), open_at(size, "train")
    if test.names == reference.names:
        every_third = range(0, len(test), 3)
        reference = test.select([i for i in range(len(test)) if i not in every_third])
        test = test.select(every_third)
    # Half of the reference fits the space of features. The other half has the size of the test set.
    count = min(2 * len(test), len(reference))
    reference = reference.select([i * len(reference) // count for i in range(count)])
    has_large = is_faces and 2 * size in FACE_SIZES
    return ImageSets(test, open_at(2 * size, "test") if has_large else None, reference)
