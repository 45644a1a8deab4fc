"""Validation during training: PSNR of the same held-out images each time."""

import functools
import logging
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hyperfunc.data import ImageSource, Task, Trial
from hyperfunc.devices import batch_sharded, replicated
from hyperfunc.experiment import Network
from hyperfunc.function import predict
from hyperfunc.images import to_uint8
from hyperfunc.pixels import EXACT, border_for, imresize, mean_psnr, psnr_rgb, psnr_y
from hyperfunc.types import HostImage, Size

RANKING_SCALES = (2.0, 3.0, 4.0)
"""The mean PSNR at these scales ranks checkpoints; that of all trials if none has such a scale."""

PICTURE_SCALE, PICTURE_ROWS = 3.0, 4
"""The scale of the picture, where the model has it, and the number of images in it."""

MAX_IMAGES = 64
"""At most so many images are used: they form one batch."""

logger = logging.getLogger(__name__)


class Validator:
    """Measures the PSNR (dB) of a model on held-out images.

    All images are cropped to one size, so that few programs are compiled.
    """

    def __init__(self, model: Network, task: Task, source: ImageSource, mesh: Mesh) -> None:
        """Prepare the held-out images, of which at most `MAX_IMAGES`, evenly spaced, are used."""
        self._mesh = mesh
        count = min(len(source), MAX_IMAGES)
        source = source.select([i * len(source) // count for i in range(count)])
        crops = [_crop_center(image, task.validation_side) for image in source]
        self._sets: dict[Trial, tuple[list[np.ndarray], list[HostImage]]] = {}
        for trial in task.get_trials(model) if crops else ():
            pairs = [
                task.make_validation_pair(crop, trial, np.random.default_rng(i))
                for i, crop in enumerate(crops)
            ]
            observed, targets = zip(*pairs, strict=True)
            self._sets[trial] = (list(observed), list(targets))
        self._is_compiled = False
        self._predict = jax.jit(
            functools.partial(predict, model), static_argnums=2, out_shardings=replicated(mesh)
        )

    def __call__(self, variables: Any) -> tuple[dict[str, float], HostImage | None]:
        """Score the model with these Flax variables: "validation/psnr" ranks checkpoints.

        The picture has the observed image, the result and the target of a few images in columns.
        Without held-out images there are no scores and no picture.
        """
        if self._sets and not self._is_compiled:
            self._is_compiled = True
            scales = ", ".join(f"{scale:g}" for scale in sorted({t.scale for t in self._sets}))
            logger.info("compiling the validation at scale %s, up to minutes", scales)
        scores, picture = {}, None
        for trial, (observed, targets) in self._sets.items():
            scale, name = trial.scale, f"validation/psnr_{trial.name}"
            outputs = self._run(variables, observed, targets[0].shape[:2])
            border = border_for((scale, scale))
            values = [
                psnr_y(a, b, border) if scale > 1 else psnr_rgb(a, b)
                for a, b in zip(outputs, targets, strict=True)
            ]
            scores[name] = min(mean_psnr(values), EXACT)
            if picture is None or scale == PICTURE_SCALE:
                columns = (
                    images[:PICTURE_ROWS] for images in (_as_levels(observed), outputs, targets)
                )
                picture = _side_by_side(*columns)
        names = (f"validation/psnr_x{scale:g}" for scale in RANKING_SCALES)
        ranked = [scores[name] for name in names if name in scores]
        if scores:
            scores["validation/psnr"] = float(np.mean(ranked or list(scores.values())))
        return scores, picture

    def _run(self, variables: Any, observed: list[np.ndarray], size: Size) -> list[HostImage]:
        padding = -len(observed) % self._mesh.size
        batch = np.stack(observed + [observed[-1]] * padding)
        images = jax.make_array_from_callback(
            batch.shape, batch_sharded(self._mesh), lambda index: batch[index]
        )
        outputs = self._predict(variables, images, size)
        return list(to_uint8(np.asarray(outputs)[: len(observed)]))


def _as_levels(images: list[np.ndarray]) -> list[HostImage]:
    """Turn observed images into levels; missing pixels are black."""
    return [x if x.dtype == np.uint8 else to_uint8(np.nan_to_num(x)) for x in images]


def _crop_center(image: HostImage, side: int) -> HostImage:
    """Crop the centre; a smaller image is enlarged first."""
    height, width = image.shape[:2]
    if min(height, width) < side:
        factor = side / min(height, width)
        image = imresize(
            image, (max(round(height * factor), side), max(round(width * factor), side))
        )
        height, width = image.shape[:2]
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _side_by_side(*columns: list[HostImage]) -> HostImage:
    """Lay out columns of images, all resized to the size of the last column's."""
    size = columns[-1][0].shape[:2]
    return np.concatenate(
        [np.concatenate([imresize(image, size) for image in column]) for column in columns], axis=1
    )
