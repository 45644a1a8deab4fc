"""The input pipeline: images to batches, with Grain.

Batch number n is a function of (source, task, seed, n) and of nothing else, so a resumed run sees
the batches that the uninterrupted one would have seen, and any number of processes share the same
batches.
"""

import math
import warnings
from collections.abc import Iterator, Sequence

import grain
import numpy as np
from jaxtyping import Int64

from hyperfunc.data.source import ImageSource
from hyperfunc.data.tasks import Example, Task

MAX_EXAMPLES = 1_000_000
"""An epoch is no longer than about this, however small the smallest image."""


def repeat_by_weight(
    source: ImageSource, weights: Sequence[tuple[str, float]] = ()
) -> Int64[np.ndarray, " examples"]:
    """Numbers of images, each as often as its area and its folder's weight ask for.

    To a tenth of the rarest one's share, and at least once.

    Args:
        source: the images.
        weights: a folder of the dataset, and how often its pixels are drawn against others.
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
    """Say so, unless the dataset has no folders at all: then a preset's weights mean others."""
    folders = sorted({name.rpartition("/")[0] for name in source.names} - {""})
    if folders:
        warnings.warn(
            f"data.weights names {folder}, which {source.description} has no folder of: leave it "
            f"out (--data.weights with nothing after it), or name one of {', '.join(folders[:5])}",
            stacklevel=3,
        )


class _WeightedImages(grain.sources.RandomAccessDataSource):
    """Numbers of images: an epoch has each as often as `repeat_by_weight` says."""

    def __init__(self, source: ImageSource, weights: Sequence[tuple[str, float]]) -> None:
        self._numbers = repeat_by_weight(source, weights)
        self._description = f"{source.description} by weight"

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> int:
        return int(self._numbers[index])

    def __repr__(self) -> str:
        return self._description


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
    prefetch: int = 8,
) -> Iterator[Example]:
    """Iterate over batches for ever.

    Args:
        source: the images.
        task: makes examples of them.
        batch_size: of all processes together.
        seed: of everything random.
        weights: see `repeat_by_weight`.
        start: number of the first batch.
        process_index: which process this is; it gets its part of every batch.
        process_count: how many there are.
        threads: reader threads.
        prefetch: examples that are prepared ahead, for each thread.

    Raises:
        ValueError: the batch cannot be divided among the processes.
    """
    if batch_size % process_count:
        raise ValueError(
            f"a batch of {batch_size} cannot be divided among {process_count} processes"
        )

    def make_example(index: int, image: int) -> Example:
        batch = index // batch_size
        setting = task.draw_setting(np.random.default_rng([seed, 0, batch]))
        return task.make_example(source[image], setting, np.random.default_rng([seed, 1, index]))

    dataset = grain.MapDataset.source(_WeightedImages(source, weights))
    dataset = dataset.seed(seed).shuffle().repeat().map_with_index(make_example)
    dataset = dataset[process_index::process_count].batch(batch_size // process_count)
    dataset = dataset.slice(slice(start, None))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    return iter(dataset.to_iter_dataset(options))
