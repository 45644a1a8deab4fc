"""Decode the files of a batch ahead of the model, and find which of their pixels are missing."""

import collections
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from hyperfunc.errors import UserError
from hyperfunc.images import Photo, read_photo
from hyperfunc.upscaling.batch_plan import Job

MIN_DECODED_AHEAD = 2
"""Files that are decoded before the model needs them; one for each decoding thread, if more."""

DECODED_AHEAD_BYTES = 2**29
"""The most memory that these take, unless the next file alone takes more."""


class Input(NamedTuple):
    """A decoded file."""

    photo: Photo
    gaps: Bool[np.ndarray, "h w"] | None
    """Where pixels are missing."""


def decode_ahead(
    jobs: Iterable[Job | None], pool: ThreadPoolExecutor, threads: int
) -> Iterator["Future[Input] | None"]:
    """Yield the files in order while the next ones are being decoded.

    Where None stands for a file that is not known yet, no file waits for it.
    """
    ahead = max(MIN_DECODED_AHEAD, threads)
    waiting: collections.deque[tuple[Job, Future[Input]]] = collections.deque()
    for job in jobs:
        if job is None:
            yield waiting.popleft()[1] if waiting else None
            continue
        waiting.append((job, pool.submit(_read, job)))
        while len(waiting) > 1 and (
            len(waiting) > ahead
            or sum(other.header.bytes for other, _ in waiting) > DECODED_AHEAD_BYTES
        ):
            yield waiting.popleft()[1]
    while waiting:
        yield waiting.popleft()[1]


def _read(job: Job) -> Input:
    photo = read_photo(job.source)
    if photo.pixels.shape[:2] != job.header.size:
        raise UserError(f"{job.source}: was changed during the run; run again")
    if job.mask is None:
        return Input(photo, None)
    gaps = job.mask.find(photo.pixels, name=str(job.source))
    if not gaps.any():
        job.outcome.notes.append(f"--mask {job.mask.source} names no pixel: nothing was filled")
    return Input(photo, gaps)
