"""Enlarge the files of a batch: decode ahead, render, write.

A file that fails is recorded in its outcome, and the run continues with the others. An output is
written under a temporary name and then renamed, so that an output that exists is complete.
"""

import collections
import concurrent.futures
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from hyperfunc.devices import is_out_of_memory
from hyperfunc.errors import REPORT_ADDRESS, UserError
from hyperfunc.files import is_full
from hyperfunc.images import Photo, read_photo, write_photo
from hyperfunc.types import HostPixels
from hyperfunc.upscaling.batch_plan import Batch, Job
from hyperfunc.upscaling.batch_progress import BatchProgress
from hyperfunc.upscaling.batch_summary import describe
from hyperfunc.upscaling.pieces import Plan
from hyperfunc.upscaling.records import append_record
from hyperfunc.upscaling.upscaler import Progress, Upscaler
from hyperfunc.values import has_alpha

MIN_DECODED_AHEAD = 2
"""Files that are decoded before the model needs them; one for each decoding thread, if more."""

DECODED_AHEAD_BYTES = 2**29
"""The most memory that these take, unless the next file alone takes more."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


def run_batch(
    batch: Batch,
    upscaler: Upscaler,
    *,
    threads: int = 4,
    say: Callable[[str], None] = lambda text: None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Enlarge the files of a batch, and record the outcome of each.

    Files are decoded in threads ahead of the model, and written in a thread behind it. The model
    works in a thread, too: the caller's thread only waits, so that an interruption is noticed
    soon, even while the model is compiled. The file that is being written is then completed, and
    the one that is being rendered is dropped.

    Args:
        batch: the files.
        upscaler: the model.
        threads: how many threads decode.
        say: called with lines for people to read.
        is_interrupted: tells whether the user has asked to stop.

    Raises:
        UserError: the disk is full.
        KeyboardInterrupt: the user has asked to stop.
    """
    plans = [upscaler.plan(job.header.size, job.size) for job in batch.jobs]
    say(describe(batch, plans))
    readers, renderer, writer = (ThreadPoolExecutor(n) for n in (threads, 1, 1))
    is_stopped = threading.Event()
    writing: Future[None] | None = None
    progress = BatchProgress(batch.jobs, upscaler, _image_memory(batch.jobs), say)
    try:
        decoding = _decode_ahead(batch.jobs, readers, max(MIN_DECODED_AHEAD, threads))
        for i, ((job, photo), plan) in enumerate(zip(decoding, plans, strict=True), 1):
            progress.show_name(f"{i}/{len(plans)} {job.source.name}")
            report = _stoppable(is_stopped, job, progress)
            with _recording_failure(job, job.source):
                decoded = _wait(photo, is_interrupted)
                rendering = renderer.submit(_enlarge, job, plan, decoded, upscaler, report)
                result = _wait(rendering, is_interrupted)
                if writing is not None:  # Only one finished output is kept in memory.
                    _wait(writing, is_interrupted)
                writing = writer.submit(_write, job, result, batch.quality)
            progress.finish(job)
        if writing is not None:
            _wait(writing, is_interrupted)
    except KeyboardInterrupt:
        if writing is not None and not writing.done():
            say("interrupted: completing the output that is being written")
        raise
    finally:
        is_stopped.set()
        for pool in (readers, renderer):
            pool.shutdown(wait=False, cancel_futures=True)
        writer.shutdown(wait=True, cancel_futures=True)
        progress.close()


def _wait(future: "Future[T]", is_interrupted: Callable[[], bool]) -> T:
    """Wait for a result, and check every tenth of a second whether the user has interrupted."""
    while not is_interrupted():
        if concurrent.futures.wait([future], timeout=0.1).done:
            return future.result()
    raise KeyboardInterrupt


def _decode_ahead(
    jobs: list[Job], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[Job, "Future[Photo]"]]:
    """Yield the jobs in order while the files of the next ones are being decoded."""
    waiting: collections.deque[tuple[Job, Future[Photo]]] = collections.deque()
    for job in jobs:
        waiting.append((job, pool.submit(read_photo, job.source)))
        while len(waiting) > 1 and (
            len(waiting) > ahead
            or sum(other.header.bytes for other, _ in waiting) > DECODED_AHEAD_BYTES
        ):
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _image_memory(jobs: list[Job]) -> int:
    """The most memory that images take: one is rendered, one is written, and others wait."""
    largest = max((job.bytes for job in jobs), default=0)
    if len(jobs) < 2:
        return largest
    return 2 * largest + min(sum(job.header.bytes for job in jobs), DECODED_AHEAD_BYTES)


@contextlib.contextmanager
def _recording_failure(job: Job, path: Path) -> Iterator[None]:
    """Record why a file fails, so that the run continues with the others.

    Args:
        job: the file.
        path: the file that is read or written.

    Raises:
        UserError: the disk is full.
    """
    try:
        yield
    except _DiskFullError:  # While the file before was being written.
        raise
    except UserError as error:
        job.outcome.fail(str(error))
        if is_full(error.__cause__):
            raise _DiskFullError(str(error)) from error
    except OSError as error:
        job.outcome.fail(f"{path}: {error.strerror or error}")
    except Exception as error:
        if is_out_of_memory(error):
            reason = "not enough memory; try a smaller --tile or a smaller output"
        else:
            logger.exception("unexpected %s with %s", type(error).__name__, path)
            reason = (
                f"{type(error).__name__}: {' '.join(str(error).split())[:300]}; this is a bug in "
                f"hyperfunc, please report it at {REPORT_ADDRESS}"
            )
        job.outcome.fail(f"{path}: {reason}")


class _DiskFullError(UserError):
    """Ends the run: no other file could be written, either."""


class _StoppedError(Exception):
    """Ends the rendering of an image that nobody waits for."""


def _stoppable(is_stopped: threading.Event, job: Job, progress: BatchProgress) -> Progress:
    """Show the progress of an image, and end its rendering when the run is stopped."""

    def report(done: int, total: int) -> None:
        if is_stopped.is_set():
            raise _StoppedError
        progress.update(job, done, total)

    return report


def _enlarge(job: Job, plan: Plan, photo: Photo, upscaler: Upscaler, progress: Progress) -> Photo:
    """Render a decoded file, and record the time that it takes."""
    if photo.pixels.shape[:2] != job.header.size:
        raise UserError(f"{job.source}: was changed during the run; run again")
    began = time.perf_counter()
    pixels = render(upscaler, photo.pixels, plan, progress)
    job.outcome.seconds = round(time.perf_counter() - began, 3)
    job.outcome.notes += photo.notes
    return Photo(pixels, photo.metadata)


def render(
    upscaler: Upscaler, pixels: HostPixels, plan: Plan, progress: Progress | None = None
) -> HostPixels:
    """Render an image whose floats may have any range: they are mapped to [0, 1] and back."""
    if pixels.dtype != np.float32:
        return upscaler.render(pixels, plan, progress=progress)
    colours = slice(0, pixels.shape[2] - has_alpha(pixels.shape[2]))
    low = min(float(pixels[..., colours].min()), 0.0)
    high = max(float(pixels[..., colours].max()), 1.0)
    if (low, high) == (0.0, 1.0):
        return upscaler.render(pixels, plan, progress=progress)
    pixels = pixels.copy()
    pixels[..., colours] = (pixels[..., colours] - low) / (high - low)
    result = upscaler.render(pixels, plan, progress=progress)
    result[..., colours] = result[..., colours] * (high - low) + low
    return result


def _write(job: Job, photo: Photo, quality: int) -> None:
    with _recording_failure(job, job.target):
        record = functools.partial(append_record, output=job.target, origin=job.origin)
        job.outcome.notes += write_photo(job.target, photo, quality=quality, before=record)
        job.outcome.status = "done"
