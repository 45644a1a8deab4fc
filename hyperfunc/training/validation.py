"""Validation during training: PSNR of held-out images, cheap and always the same."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hyperfunc.data import ImageSource, Reconstruction, SuperResolution, Task, compress
from hyperfunc.devices import batch_sharded, replicated
from hyperfunc.experiment import Network
from hyperfunc.function import predict
from hyperfunc.images import to_uint8
from hyperfunc.pixels import EXACT, border_for, degrade, imresize, mean_psnr, psnr_rgb, psnr_y
from hyperfunc.types import HostImage, Size

SCALES = (2.0, 3.0, 4.0, 1.5, 2.5, 3.7, 6.0, 8.0)
"""Integer scales that are trained, scales between them, and scales beyond."""

RANKING = (2.0, 3.0, 4.0)
"""The scales whose mean PSNR ranks checkpoints."""

SIDE = 192
"""Side of the centre crop that is used of each image."""

MOST = 64
"""Images that are used, at most: they are one batch."""


class Validator:
    """Computes PSNR (dB) of held-out images; all have one size, so little is compiled.

    Where the task compresses some of its examples, all that is enlarged here has been compressed.
    """

    def __init__(self, model: Network, task: Task, source: ImageSource, mesh: Mesh) -> None:
        """Prepare the images: all, or ``MOST`` of them, evenly spaced.

        Raises:
            ValueError: it is not known how the task is to be validated.
        """
        if not isinstance(task, Reconstruction | SuperResolution):
            raise ValueError(
                f"validation knows no {type(task).__name__}: say in "
                "hyperfunc/training/validation.py what such a model is to make of held-out images"
            )
        self._model, self._mesh = model, mesh
        count = min(len(source), MOST)
        source = source.select([i * len(source) // count for i in range(count)])
        if isinstance(task, Reconstruction):
            side, scales = task.size, (1.0,)
        else:
            side, scale = SIDE, model.fixed_scale
            scales = SCALES if scale is None else (float(scale),)
        crops = [_centre(image, side) for image in source]
        self._pairs: dict[float, tuple[list[HostImage], list[HostImage]]] = {}
        for scale in scales if crops else ():
            pairs = [degrade(crop, (scale, scale)) for crop in crops]
            inputs, targets = zip(*pairs, strict=True)
            if isinstance(task, SuperResolution) and task.jpeg:
                rngs = (np.random.default_rng(i) for i in range(count))
                inputs = [compress(image, rng) for image, rng in zip(inputs, rngs, strict=True)]
            self._pairs[scale] = (list(inputs), list(targets))
        self._compiled: dict[Size, Any] = {}

    def __call__(self, variables: Any) -> tuple[dict[str, float], HostImage | None]:
        """Score a model.

        Returns:
            Scores by name, "validation/psnr" the one that ranks checkpoints, and a picture: input,
            result and original of a few images. Nothing without held-out images.
        """
        scores, picture = {}, None
        for scale, (inputs, targets) in self._pairs.items():
            outputs = self._render(variables, inputs, targets[0].shape[:2])
            border = border_for((scale, scale))
            values = [
                psnr_y(a, b, border) if scale > 1 else psnr_rgb(a, b)
                for a, b in zip(outputs, targets, strict=True)
            ]
            scores[f"validation/psnr_x{scale:g}"] = min(mean_psnr(values), EXACT)
            if picture is None or scale == 3.0:
                picture = _side_by_side(inputs[:4], outputs[:4], targets[:4])
        ranked = [scores[f"validation/psnr_x{s:g}"] for s in RANKING if s in self._pairs]
        if ranked or scores:
            scores["validation/psnr"] = float(np.mean(ranked or list(scores.values())))
        return scores, picture

    def _render(self, variables: Any, inputs: list[HostImage], size: Size) -> list[HostImage]:
        function = self._compiled.get(size)
        if function is None:
            function = self._compiled[size] = jax.jit(
                lambda variables, images: predict(self._model, variables, images, size),
                out_shardings=replicated(self._mesh),
            )
        count = -len(inputs) % self._mesh.size
        batch = np.stack(inputs + [inputs[-1]] * count)
        images = jax.make_array_from_callback(
            batch.shape, batch_sharded(self._mesh), lambda index: batch[index]
        )
        return list(to_uint8(np.asarray(function(variables, images))[: len(inputs)]))


def _centre(image: HostImage, side: int) -> HostImage:
    """The centre crop; a smaller image is enlarged first."""
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
    """Images in columns, all at the size of the last."""
    size = columns[-1][0].shape[:2]
    return np.concatenate(
        [np.concatenate([imresize(image, size) for image in column]) for column in columns], axis=1
    )
