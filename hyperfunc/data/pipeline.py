"""The input pipeline of the host: images to batches, with Grain.

Any number of processes share the same batches.
"""

import logging
import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64

from hyperfunc.data.source import ImageSource
from hyperfunc.data.tasks import Example, Task
from hyperfunc.errors import check_extra

logger = logging.getLogger(__name__)

MAX_EXAMPLES = 1_000_000
"""An epoch has about so many examples at most, however small an image or a weight is."""

EXAMPLES_AHEAD = 8
"""So many examples are prepared before they are asked for."""


def repeat_by_weight(
    source: ImageSource, weights: Sequence[tuple[str, float]] = ()
) -> Int64[np.ndarray, " examples"]:
    """List the numbers of all images, each as often as its area times its folder's weight demands.

    Proportions are accurate to a tenth of the share of the rarest image.
    """
    names = source.names
    shares = np.asarray([math.prod(size) for size in source.sizes()], np.float64)
    for folder, weight in weights:
        is_inside = np.asarray([name.startswith(f"{folder}/") for name in names])
        shares[is_inside] *= weight
        if not is_inside.any():
            _warn_of_missing(folder, source)
    unit = max(shares.min() / 10, shares.sum() / MAX_EXAMPLES)
    counts = np.maximum(np.round(shares / unit).astype(int), 1)
    return np.repeat(np.arange(len(names)), counts // np.gcd.reduce(counts))


def _warn_of_missing(folder: str, source: ImageSource) -> None:
    """Warn that a folder of a preset's dataset is missing, unless there are no folders at all."""
    folders = sorted({name.rpartition("/")[0] for name in source.names} - {""})
    if folders:
        logger.warning(
            "data.weights names %s, which is no folder of %s: remove it (--data.weights without "
            "values), or name one of %s",
            folder,
            source.description,
            ", ".join(folders[:5]),
        )


def make_batches(
    source: ImageSource,
    task: Task,
    *,
    batch_size: int,
    seed: int,
    weights: Sequence[tuple[str, float]] = (),
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
) -> Iterator[Example]:
    """Iterate without end over the batches of one process.

    Each process gets its part of the ``batch_size`` examples of a batch. The weights are those of
    `repeat_by_weight`, and ``start`` is the number of the first batch.

    Raises:
        UserError: Grain is not installed.
        ValueError: the number of processes does not divide the batch size.
    """
    check_extra("train", "the input pipeline")
    import grain

    if batch_size % process_count:
        raise ValueError(
            f"a batch of {batch_size} cannot be divided among {process_count} processes"
        )

    numbers = repeat_by_weight(source, weights)

    def make_example(index: int, place: int) -> Example:
        batch = index // batch_size
        setting = task.draw_setting(np.random.default_rng([seed, 0, batch]))
        image = source[int(numbers[place])]
        return task.make_example(image, setting, np.random.default_rng([seed, 1, index]))

    dataset = grain.MapDataset.range(len(numbers))
    dataset = dataset.seed(seed).shuffle().repeat().map_with_index(make_example)
    dataset = dataset[process_index::process_count].batch(batch_size // process_count)
    dataset = dataset.slice(slice(start, None))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=EXAMPLES_AHEAD)
    return iter(dataset.to_iter_dataset(options))
