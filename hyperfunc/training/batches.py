"""The data of a run: which images train the model, which validate it, and the batches."""

import logging
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import jax
from jax.sharding import Mesh

from hyperfunc.data import ImageSource, make_batches, make_resident_batches
from hyperfunc.devices import shard_batch
from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment

logger = logging.getLogger(__name__)


def split_validation(source: ImageSource, share: float) -> tuple[ImageSource, ImageSource]:
    """Divide images into those to train on and those held out, evenly over their order.

    At least one is held out if ``share`` is not zero. It is 0 to 0.5, and is rounded to a fraction
    with a denominator of at most 10,000.

    Raises:
        UserError: no image would be left to train on.
    """
    exact = Fraction(share).limit_denominator(10_000)
    ends = [math.ceil(exact * i - Fraction(1, 2)) for i in range(len(source) + 1)]
    held_out = [i for i in range(len(source)) if ends[i] < ends[i + 1]]
    if share and not held_out:
        held_out = [len(source) - 1]
    kept = [i for i in range(len(source)) if i not in set(held_out)]
    if not kept:
        raise UserError(
            f"{source.description} has {len(source)} images, too few to hold one out: add images "
            "or train with --data.validation=0"
        )
    return source.select(kept), source.select(held_out)


def open_batches(
    experiment: Experiment, source: ImageSource, mesh: Mesh, *, start: int
) -> Iterator[Any]:
    """Iterate without end over batches that lie on the devices, from batch number ``start`` on."""
    data, task = experiment.data, experiment.task
    _warn_of_small_images(source, max(*task.target_sides, *task.observed_size))
    options: dict[str, Any] = {"batch_size": data.batch_size, "weights": data.weights}
    options |= {"seed": experiment.run.seed, "start": start}
    if data.resident:
        return make_resident_batches(source, task, mesh, **options)
    batches = make_batches(
        source,
        task,
        **options,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=data.threads,
    )
    return (shard_batch(batch, mesh) for batch in batches)


def _warn_of_small_images(source: ImageSource, side: int) -> None:
    sizes = zip(source.names, source.sizes(), strict=True)
    if small := [name for name, size in sizes if min(size) < side]:
        logger.warning(
            "%d of %d images are smaller than the crop of %d pixels, and are mirrored beyond their "
            "border: %s",
            len(small),
            len(source),
            side,
            ", ".join(small[:5]) + ", ..." * (len(small) > 5),
        )
