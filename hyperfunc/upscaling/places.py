"""Whether the outputs of a batch can be written, checked before the first one is rendered."""

import math
import shutil
from pathlib import Path

from hyperfunc.errors import UserError
from hyperfunc.files import Address, check_place, remove_leftovers
from hyperfunc.images import FORMATS
from hyperfunc.upscaling.batch_plan import Batch, Job

LEAST_SHARE = {"PNG": 0.1, "TIFF": 0.1, "JPEG": 0.02, "WebP": 0.01, "AVIF": 0.01}
"""What an output takes of the memory of its pixels, at least: half of the least that photographs at
scale 4 took."""


def check_places(batch: Batch, *, is_first: bool = True) -> None:
    """Check each folder of outputs, and the room on the disk; missing folders are made.

    Temporary files that a killed run has left there are removed. The files of a folder that cannot
    be written are recorded as failed.

    Raises:
        UserError: no folder can be written (if this is the first batch), or there is too little
            room for the outputs.
    """
    failed: dict[Path, UserError] = {}
    by_folder = {job.target.parent: job.target for job in reversed(batch.jobs)}
    for folder, target in by_folder.items():
        try:
            check_place(target)
        except UserError as error:
            failed[folder] = error
        remove_leftovers(folder)
    if is_first and failed and len(failed) == len(by_folder):
        raise min(failed.values(), key=str)
    for job in [job for job in batch.jobs if job.target.parent in failed]:
        job.outcome.fail(str(failed[job.target.parent]))
        batch.jobs.remove(job)
    if batch.jobs and not isinstance(batch.jobs[0].target, Address):
        _check_room(batch.jobs)


def _check_room(jobs: list[Job]) -> None:
    place = jobs[0].target.parent
    free = shutil.disk_usage(place).free
    needed = sum(_estimate_bytes(job) for job in jobs)
    if needed > free:
        raise UserError(
            f"{place}: the outputs take at least {math.ceil(needed / 2**20):,} MiB, and "
            f"{free // 2**20:,} MiB are free: make room or choose another place or format"
        )


def _estimate_bytes(job: Job) -> float:
    """The least that an output takes in addition to the file that it replaces."""
    share = LEAST_SHARE[FORMATS[job.target.suffix.lower()]]
    replaced = job.target.stat().st_size if job.target.exists() else 0
    return job.output_bytes * share - replaced
