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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hyperfunc.devices import is_out_of_memory
from hyperfunc.errors import UserError
from hyperfunc.files import is_full
from hyperfunc.images import Photo, resize_tags, write_photo
from hyperfunc.pixels import estimate_noise
from hyperfunc.upscaling.batch_groups import Group, plan_groups
from hyperfunc.upscaling.batch_input import DECODED_AHEAD_BYTES, Input, decode_ahead
from hyperfunc.upscaling.batch_plan import BATCH_SIZE, Batch, Job
from hyperfunc.upscaling.batch_progress import BatchProgress
from hyperfunc.upscaling.batch_summary import describe
from hyperfunc.upscaling.memory import check_memory
from hyperfunc.upscaling.missing import mark_missing, unmark
from hyperfunc.upscaling.pieces import Plan
from hyperfunc.upscaling.records import append_record
from hyperfunc.upscaling.tiles import TilePlan
from hyperfunc.upscaling.upscaler import Progress, Upscaler
from hyperfunc.upscaling.value_range import ValueRange

T = TypeVar("T")

logger = logging.getLogger(__name__)


def run_batches(
    batches: Iterable[Batch],
    upscaler: Upscaler,
    *,
    threads: int = 4,
    say: Callable[[str], None] = lambda text: None,
    is_interrupted: Callable[[], bool] = lambda: False,
    finish: Callable[[Batch], None] = lambda batch: None,
) -> None:
    """Enlarge the files of batches, and record the outcome of each.

    Files are decoded in threads ahead of the model, and written in a thread behind it. The next
    batch is planned in a thread, too. The model works in a thread, too: the caller's thread only
    waits, so that an interruption is noticed soon, even while the model is compiled. The file that
    is being written is then completed, and the one that is being rendered is dropped.

    Args:
        batches: the files.
        upscaler: the model.
        threads: how many threads decode.
        say: called with lines for people to read.
        is_interrupted: tells whether the user has asked to stop.
        finish: called with each batch when its files are done, or the run has ended.

    Raises:
        UserError: the disk is full.
        KeyboardInterrupt: the user has asked to stop.
    """
    with _Pipeline(iter(batches), upscaler, threads, say, is_interrupted, finish) as pipeline:
        pipeline.run()


class _Pipeline:
    """Files that are decoded ahead, images that are rendered, and outputs that are written."""

    def __init__(
        self,
        batches: Iterator[Batch],
        upscaler: Upscaler,
        threads: int,
        say: Callable[[str], None],
        is_interrupted: Callable[[], bool],
        finish: Callable[[Batch], None],
    ) -> None:
        self._batches, self._upscaler, self._say = batches, upscaler, say
        self._is_interrupted, self._is_stopped = is_interrupted, threading.Event()
        self._finish = finish
        self._readers, self._writer = ThreadPoolExecutor(threads), ThreadPoolExecutor(1)
        # With two, one group is compiled while another one is rendered.
        self._renderers, self._planner = ThreadPoolExecutor(2), ThreadPoolExecutor(1)
        self._started: collections.deque[Batch] = collections.deque()
        self._groups: collections.deque[tuple[Group, int]] = collections.deque()
        self._decoding, self._number = decode_ahead(self._find_jobs(), self._readers, threads), 0
        self._rendering: collections.deque[tuple[list[Job], int, Future[list[Photo]]]]
        self._rendering = collections.deque()
        self._writing: Future[None] | None = None
        self._progress = BatchProgress(upscaler, say)

    def __enter__(self) -> "_Pipeline":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt and self._writing is not None and not self._writing.done():
            self._say("interrupted: completing the output that is being written")
        self._is_stopped.set()
        for pool in (self._readers, self._renderers):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._writer, self._planner):  # What these have begun touches files.
            pool.shutdown(wait=True, cancel_futures=True)
        self._progress.close()
        while self._started:
            self._finish(self._started.popleft())

    def run(self) -> None:
        """Render one group after the other, and write what was rendered."""
        for decoded in self._decoding:
            if decoded is not None:
                self._render(*self._groups.popleft(), decoded)
            elif self._rendering:
                self._write()
            self._finish_batches()
        while self._rendering:
            self._write()
        if self._writing is not None:
            self._wait(self._writing)

    def _find_jobs(self) -> Iterator[Job | None]:
        """Yield the files of one batch after the other, and None while the next one is planned."""
        next_batch = self._planner.submit(next, self._batches, None)
        is_first = True
        while True:
            while not concurrent.futures.wait([next_batch], timeout=0.1).done:
                yield None
            if (batch := self._wait(next_batch)) is None:
                return
            self._started.append(batch)
            next_batch = self._planner.submit(next, self._batches, None)
            groups = plan_groups(batch.jobs, self._upscaler)
            is_all = is_first and len(batch.outcomes) < BATCH_SIZE
            if is_first:
                plans = [plan for group in groups for plan in group.plans]
                self._say("at first, " * (not is_all) + describe(batch, plans))
                self._progress.add(batch.jobs, _image_memory(batch.jobs), is_all=is_all)
            else:
                self._progress.add(batch.jobs, 0, is_all=False)
            is_first = False
            for group in groups:
                self._groups.append((group, batch.quality))
                yield from group.jobs
            if not groups:  # What was rendered is written now, and its batch need not be kept.
                yield None
            self._finish_batches()

    def _finish_batches(self) -> None:
        """Hand over the batches whose files are all done."""
        while len(self._started) > 1 and not any(
            job.outcome.status == "pending" for job in self._started[0].jobs
        ):
            self._finish(self._started.popleft())

    def _render(self, group: Group, quality: int, first: "Future[Input]") -> None:
        """Start to render a group, whose first file is given, and write what came before it."""
        jobs, plans, inputs = [], [], []
        for i, (job, plan) in enumerate(zip(group.jobs, group.plans, strict=True)):
            decoded = next(self._decoding) if i else first
            assert decoded is not None  # The files of a group follow each other.
            self._number += 1
            self._progress.show_name(f"{self._number} {job.source.name}")
            with _recording_failure([job], [job.source]):
                inputs.append(self._wait(decoded))
                jobs.append(job)
                plans.append(plan)
            if job.outcome.status == "failed":
                self._progress.finish([job])
        if not jobs:
            return
        report = self._report(jobs, plans)
        future = self._renderers.submit(_enlarge, jobs, plans, inputs, self._upscaler, report)
        self._rendering.append((jobs, quality, future))
        while len(self._rendering) > group.is_small:
            self._write()

    def _write(self) -> None:
        jobs, quality, future = self._rendering.popleft()
        with _recording_failure(jobs, [job.source for job in jobs]):
            for job, photo in zip(jobs, self._wait(future), strict=True):
                if self._writing is not None:  # Only one finished output is kept in memory.
                    self._wait(self._writing)
                self._writing = self._writer.submit(_write, job, photo, quality)
        self._progress.finish(jobs)

    def _wait(self, future: "Future[T]") -> T:
        """Wait for a result, and check every tenth of a second whether the user has interrupted."""
        while not self._is_interrupted():
            if concurrent.futures.wait([future], timeout=0.1).done:
                return future.result()
        raise KeyboardInterrupt

    def _report(self, jobs: list[Job], plans: list[Plan]) -> Progress:
        """Show the progress of a group, and end its rendering when the run is stopped."""

        def report(done: int, total: int) -> None:
            if self._is_stopped.is_set():
                raise _StoppedError
            if not done:  # The model is compiled, and nothing is rendered yet.
                self._check_memory(jobs, plans)
            self._progress.update(jobs, done, total)

        return report

    def _check_memory(self, jobs: list[Job], plans: list[Plan]) -> None:
        """Refuse images that cannot be rendered in the memory that is available."""
        is_host = self._upscaler.mesh.devices.flat[0].platform == "cpu"
        workspace = max(map(self._upscaler.workspace_of, plans)) * is_host
        needed = sum(job.working_bytes for job in jobs) + workspace
        tiles = workspace if isinstance(plans[0], TilePlan) else 0
        names = ", ".join(str(job.source) for job in jobs)
        try:
            check_memory(names, needed, tiles=tiles)
        except UserError:
            if (writing := self._writing) is None:
                raise
            concurrent.futures.wait([writing])  # What the image before takes is free then.
            check_memory(names, needed, tiles=tiles)


def _image_memory(jobs: list[Job]) -> int:
    """The most memory that images take: one is rendered, one is written, and others wait."""
    largest = max((job.bytes for job in jobs), default=0)
    if len(jobs) < 2:
        return largest
    return 2 * largest + min(sum(job.header.bytes for job in jobs), DECODED_AHEAD_BYTES)


@contextlib.contextmanager
def _recording_failure(jobs: Sequence[Job], paths: Sequence[Path]) -> Iterator[None]:
    """Record why files fail, so that the run continues with the others, unless the disk is full.

    ``paths`` are what is read or written for each.
    """
    try:
        yield
    except _DiskFullError:  # While the file before was being written.
        raise
    except UserError as error:
        reasons = [str(error) for _ in paths]
        if is_full(error.__cause__):
            jobs[0].outcome.fail(str(error))
            raise _DiskFullError(str(error)) from error
    except OSError as error:
        reasons = [f"{path}: {error.strerror or error}" for path in paths]
    except Exception as error:
        if is_out_of_memory(error):
            reason = "not enough memory; try a smaller --tile or a smaller output"
        else:
            logger.exception("unexpected %s with %s", type(error).__name__, *paths[:1])
            text = " ".join(str(error).split())[:300]
            reason = f"{type(error).__name__}: {text}; this is a bug in hyperfunc"
        reasons = [f"{path}: {reason}" for path in paths]
    else:
        return
    for job, reason in zip(jobs, reasons, strict=True):
        job.outcome.fail(reason)


class _DiskFullError(UserError):
    """Ends the run: no other file could be written, either."""


class _StoppedError(Exception):
    """Ends the rendering of an image that nobody waits for."""


def _enlarge(
    jobs: list[Job],
    plans: list[Plan],
    inputs: list[Input],
    upscaler: Upscaler,
    report: Progress,
) -> list[Photo]:
    """Render decoded files, and record the time that it takes."""
    began = time.perf_counter()
    photos = [x.photo for x in inputs]
    ranges = [ValueRange.of(photo.pixels) for photo in photos]
    images = [x.to_unit(photo.pixels) for photo, x in zip(photos, ranges, strict=True)]
    for job, image in zip(jobs, images, strict=True):
        job.outcome.noise = round(estimate_noise(image), 1)
    marked = [mark_missing(x, gaps) for x, (_, gaps) in zip(images, inputs, strict=True)]
    results = upscaler.render_together(marked, plans, progress=report)
    results = [unmark(*x) for x in zip(results, images, (x.gaps for x in inputs), strict=True)]
    enlarged = []
    for job, photo, pixels, values in zip(jobs, photos, results, ranges, strict=True):
        metadata, notes = resize_tags(photo.metadata, job.header.size, job.size)
        job.outcome.seconds = round(time.perf_counter() - began, 3)
        job.outcome.notes += (*photo.notes, *notes)
        enlarged.append(Photo(values.from_unit(pixels), metadata))
    return enlarged


def _write(job: Job, photo: Photo, quality: int) -> None:
    with _recording_failure([job], [job.target]):
        record = functools.partial(append_record, output=job.target, origin=job.origin)
        job.outcome.notes += write_photo(job.target, photo, quality=quality, before=record)
        job.outcome.status = "done"
