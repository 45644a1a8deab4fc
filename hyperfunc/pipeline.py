"""The input pipeline: images to batches, with Grain.

Batch number n is a function of (source, task, seed, n) and of nothing else, so a resumed run sees
the batches that the uninterrupted one would have seen, and any number of processes share the same
batches.
"""

from collections.abc import Iterator

import grain
import numpy as np
from jaxtyping import Int64

from hyperfunc.datasets import ImageSource
from hyperfunc.tasks import Example, Task


def repeat_by_area(source: ImageSource, footprint: int) -> Int64[np.ndarray, " examples"]:
    """Numbers of images, each as often as squares of side ``footprint`` fit into it."""
    areas = [image.shape[0] * image.shape[1] for image in source]
    repeats = [max(round(area / footprint**2), 1) for area in areas]
    return np.repeat(np.arange(len(repeats)), repeats)


class _WeightedImages(grain.sources.RandomAccessDataSource):
    """Numbers of images, each as often as examples fit into it: an epoch covers all pixels."""

    def __init__(self, source: ImageSource, footprint: int) -> None:
        self._numbers = repeat_by_area(source, footprint)
        self._description = f"{source.description} by area"

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

    dataset = grain.MapDataset.source(_WeightedImages(source, task.footprint))
    dataset = dataset.seed(seed).shuffle().repeat().map_with_index(make_example)
    dataset = dataset[process_index::process_count].batch(batch_size // process_count)
    dataset = dataset.slice(slice(start, None))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    return iter(dataset.to_iter_dataset(options))
