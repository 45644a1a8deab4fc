"""Tell people what a batch is about to do, and what would give a better result."""

import math
from collections.abc import Sequence

from hyperfunc.types import Size
from hyperfunc.upscaling.batch_plan import Batch
from hyperfunc.upscaling.pieces import Plan

JPEG_QUALITY_LIMIT = 95
"""JPEGs of this quality and below look better when a model that was trained on JPEGs enlarges them
(docs/results/jpeg.json)."""

NOISE_LIMIT = 10.0
"""Images with so much noise, as `estimate_noise` finds it, are restored rather than enlarged: see
docs/experiments/restoration.md."""


def describe(batch: Batch, plans: Sequence[Plan]) -> str:
    """Say what is about to be done; ``plans`` are those of all images."""
    jobs = batch.jobs
    tiles = sum(len(plan.pieces) for plan in plans)
    tiles_text = f"{tiles} tile{'s' * (tiles > 1)}"
    megapixels = sum(job.pixels for job in jobs) / 1e6
    if len(batch.outcomes) == 1 and jobs:
        job = jobs[0]
        text = (
            f"{job.source}: {_dimensions(job.header.size)} -> {_dimensions(job.size)} pixels "
            f"({megapixels:.1f} Mpx), {tiles_text}"
        )
        again = f"; {job.target} was made with other settings or of another input: made again"
        return text + again * job.is_made_again
    input_megapixels = sum(math.prod(job.header.size) for job in jobs) / 1e6
    text = (
        f"{len(jobs)} of {len(batch.outcomes)} files to do: {input_megapixels:.1f} -> "
        f"{megapixels:.1f} Mpx, {tiles_text}"
    )
    others = []
    if again := sum(job.is_made_again for job in jobs):
        others.append(f"{again} again: other settings or another input made what is there")
    if batch.count("skipped"):
        others.append(f"{batch.count('skipped')} exist already")
    if batch.count("failed"):
        others.append(f"{batch.count('failed')} cannot be done")
    return f"{text} ({', '.join(others)})" if others else text


def advise(batch: Batch) -> str | None:
    """Recommend the model for JPEGs if there are some whose artefacts would be enlarged."""
    jpegs = [job for job in batch.jobs if (job.header.quality or 100) <= JPEG_QUALITY_LIMIT]
    if not jpegs:
        return None
    if len(batch.jobs) == 1:
        which = f"a JPEG of quality {jpegs[0].header.quality}"
    else:
        which = f"{len(jpegs)} of these are JPEGs of quality {JPEG_QUALITY_LIMIT} or less"
    return f"{which}: --checkpoint=sr_jpeg removes the artefacts of the compression"


def advise_against_noise(batch: Batch) -> str | None:
    """Recommend to restore images whose noise was enlarged."""
    noisy = [outcome for outcome in batch.outcomes if (outcome.noise or 0) >= NOISE_LIMIT]
    if not noisy:
        return None
    which = f"{len(noisy)} of these have noise"
    if len(batch.outcomes) == 1:
        which = f"noise of about {noisy[0].noise:.0f} of 255 levels"
    return f"{which}: hyperfunc restore with --scale removes it and enlarges"


def _dimensions(size: Size) -> str:
    return f"{size[1]} x {size[0]}"
