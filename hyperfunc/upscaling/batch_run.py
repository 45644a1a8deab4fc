"""Enlarge files and folders of files: decode ahead, render tile by tile, write, report.

What is to be done was planned before (`hyperfunc.upscaling.batch_plan`). A file that fails is set
down in its outcome, and the others go on. An output is written beside its place and then renamed,
so that one that exists is whole.
"""

import collections
import concurrent.futures
import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from hyperfunc.errors import UserError
from hyperfunc.images import Photo, read_photo, write_photo
from hyperfunc.pixels import has_alpha
from hyperfunc.types import HostPixels, Size
from hyperfunc.upscaling.batch_plan import Batch, Job
from hyperfunc.upscaling.upscaler import Upscaler

T = TypeVar("T")

AHEAD = 2
"""Files that are decoded before the model needs them, or one for each thread that decodes."""

AHEAD_BYTES = 2**29
"""They take no more memory than this, but for the next one."""

ENOUGH = 0.1
"""The part of all output pixels from which the time of the rest is told: one image of a folder says
little of the others."""

POOR = 95
"""JPEGs of this quality and below are better enlarged by a model that has seen such
(docs/results/jpeg.json)."""

PATIENCE = 5.0
"""After so many seconds it is told from less."""


def run_batch(
    batch: Batch,
    upscaler: Upscaler,
    *,
    quality: int = 95,
    threads: int = 4,
    say: Callable[[str], None] = lambda text: None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Do the jobs of a batch, and write down their outcomes.

    Files are decoded in threads ahead of the model, and written in a thread behind it. The model
    works in a thread, too: the caller's thread only waits, so that an interruption is noticed
    soon, even while the model is compiled. The file that is being written is then completed, and
    the one that is being rendered is given up.

    Args:
        batch: what to do.
        upscaler: the model.
        quality: of JPEG and WebP, see `hyperfunc.images.photos.write_photo`.
        threads: how many decode.
        say: is given what a person wants to know.
        is_interrupted: tells whether the user has asked to stop.

    Raises:
        KeyboardInterrupt: the user has asked to stop.
    """
    jobs = batch.jobs
    total = sum(job.megapixels for job in jobs)
    clock = _Clock(total, upscaler, _image_bytes(jobs), say)
    readers, renderer, writer = (ThreadPoolExecutor(n) for n in (threads, 1, 1))
    is_given_up = threading.Event()
    writing: Future[None] | None = None
    bar = tqdm(
        total=total,
        unit="Mpx",
        disable=None,
        bar_format="{l_bar}{bar}| {n:.1f}/{total:.1f} Mpx [{elapsed}<{remaining}{postfix}]",
    )
    try:
        reading = _read_ahead(jobs, readers, max(AHEAD, threads))
        for i, (job, photo) in enumerate(reading, 1):
            bar.set_postfix_str(f"{i}/{len(jobs)} {job.source.name}")
            with _noting(job):
                picture = _wait(photo, is_interrupted)
                rendering = renderer.submit(
                    _enlarge, job, picture, upscaler, bar, clock, is_given_up
                )
                result = _wait(rendering, is_interrupted)
                if writing is not None:  # one output in memory besides the one in work
                    _wait(writing, is_interrupted)
                writing = writer.submit(_write, job, result, quality)
            bar.n = sum(done.megapixels for done in jobs[:i])
            bar.refresh()
        if writing is not None:
            _wait(writing, is_interrupted)
    except KeyboardInterrupt:
        if writing is not None and not writing.done():
            say("interrupted: an output is being written to its end")
        raise
    finally:
        is_given_up.set()
        for pool in (readers, renderer):
            pool.shutdown(wait=False, cancel_futures=True)
        writer.shutdown(wait=True, cancel_futures=True)
        bar.close()


def _wait(future: "Future[T]", is_interrupted: Callable[[], bool]) -> T:
    """Wait for a result, and look every tenth of a second whether the user has interrupted."""
    while not is_interrupted():
        if concurrent.futures.wait([future], timeout=0.1).done:
            return future.result()
    raise KeyboardInterrupt


def _read_ahead(
    jobs: list[Job], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[Job, "Future[Photo]"]]:
    waiting: collections.deque[tuple[Job, Future[Photo]]] = collections.deque()
    for job in jobs:
        waiting.append((job, pool.submit(read_photo, job.source)))
        # Of what waits one is worked on next.
        while len(waiting) > 1 and (
            len(waiting) > ahead or sum(job.header.bytes for job, _ in waiting) > AHEAD_BYTES
        ):
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _image_bytes(jobs: list[Job]) -> int:
    """The most that images take in memory: one is enlarged, one written, and others wait."""
    largest = max((job.bytes for job in jobs), default=0)
    if len(jobs) < 2:
        return largest
    return 2 * largest + min(sum(job.header.bytes for job in jobs), AHEAD_BYTES)


@contextlib.contextmanager
def _noting(job: Job) -> Iterator[None]:
    """Set down what goes wrong with a file, whatever it is, and go on."""
    try:
        yield
    except UserError as error:
        job.outcome.status, job.outcome.error = "failed", str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in reason:
            reason = "not enough memory; try a smaller --tile or a smaller output"
        job.outcome.status, job.outcome.error = "failed", f"{job.source}: {reason[:500]}"


class _GivenUpError(Exception):
    """Ends a thread whose result nobody waits for."""


def _enlarge(
    job: Job,
    photo: Photo,
    upscaler: Upscaler,
    bar: "tqdm[Any]",
    clock: "_Clock",
    is_given_up: threading.Event,
) -> Photo:
    height, width = photo.pixels.shape[:2]
    if (height, width) != job.header.size:
        raise UserError(f"{job.source}: has changed while it was worked on; run again")
    began, start = time.perf_counter(), bar.n

    def show(done: int, total: int) -> None:
        if is_given_up.is_set():
            raise _GivenUpError
        bar.n = start + job.megapixels * done / total
        clock.note(bar.n, begins=not done)
        bar.refresh()

    pixels = render(upscaler, photo.pixels, job.size, show)
    job.outcome.seconds = round(time.perf_counter() - began, 3)
    job.outcome.notes += photo.notes
    return Photo(pixels, photo.metadata)


def render(
    upscaler: Upscaler,
    pixels: HostPixels,
    size: Size,
    progress: Callable[[int, int], None] | None = None,
) -> HostPixels:
    """Render at ``size``; floats of another range than [0, 1] are brought to it and back."""
    if pixels.dtype != np.float32:
        return upscaler(pixels, size, progress=progress)
    colours = slice(0, pixels.shape[2] - has_alpha(pixels.shape[2]))
    low = min(float(pixels[..., colours].min()), 0.0)
    high = max(float(pixels[..., colours].max()), 1.0)
    if (low, high) != (0.0, 1.0):
        pixels = pixels.copy()
        pixels[..., colours] = (pixels[..., colours] - low) / (high - low)
    result = upscaler(pixels, size, progress=progress)
    if (low, high) != (0.0, 1.0):
        result[..., colours] = result[..., colours] * (high - low) + low
    return result


def _write(job: Job, photo: Photo, quality: int) -> None:
    with _noting(job):
        job.outcome.notes += write_photo(job.target, photo, quality=quality)
        job.outcome.status = "done"


class _Clock:
    """Says once how long all will take, and how much memory, as soon as enough has been seen."""

    def __init__(
        self, megapixels: float, upscaler: Upscaler, image_bytes: int, say: Callable[[str], None]
    ) -> None:
        self.megapixels, self.upscaler, self.say = megapixels, upscaler, say
        self.memory = process_memory() + image_bytes
        self.has_said, self.seconds, self.done = False, 0.0, 0.0
        self.last = (0.0, 0.0)

    def note(self, megapixels: float, *, begins: bool) -> None:
        """Is told how much is done of all images.

        Time counts from when an image ``begins``, for which the model has been compiled by then.
        """
        now = time.perf_counter()
        if not begins:
            self.seconds += now - self.last[0]
            self.done += megapixels - self.last[1]
        self.last = now, megapixels
        is_enough = self.done >= ENOUGH * self.megapixels or self.seconds >= PATIENCE
        if self.has_said or not self.done or not is_enough:
            return
        self.has_said = True
        total = format_seconds(self.seconds * self.megapixels / self.done)
        gib = (self.upscaler.workspace + self.memory) / 2**30
        self.say(f"expected: {total}, {gib:.1f} GiB of memory")


def process_memory() -> int:
    """What this process has needed so far, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows.
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def describe(batch: Batch, upscaler: Upscaler) -> str:
    """What is about to be done, for people."""
    jobs = batch.jobs
    if len(batch.outcomes) == 1 and jobs:
        job = jobs[0]
        tiles = upscaler.count_tiles(job.header.size, job.size)
        return (
            f"{job.source}: {_dimensions(job.header.size)} -> {_dimensions(job.size)} pixels "
            f"({job.megapixels:.1f} Mpx), {tiles} tile{'s' * (tiles > 1)}"
        )
    pixels = sum(math.prod(job.header.size) for job in jobs) / 1e6
    tiles = sum(upscaler.count_tiles(job.header.size, job.size) for job in jobs)
    text = (
        f"{len(jobs)} of {len(batch.outcomes)} files to do: {pixels:.1f} -> "
        f"{sum(job.megapixels for job in jobs):.1f} Mpx, {tiles} tiles"
    )
    others = []
    if batch.count("skipped"):
        others.append(f"{batch.count('skipped')} exist already")
    if batch.count("failed"):
        others.append(f"{batch.count('failed')} cannot be done")
    return f"{text} ({', '.join(others)})" if others else text


def advise(batch: Batch) -> str | None:
    """What would be better done otherwise, if anything: what JPEG did to an image is enlarged."""
    poor = [job for job in batch.jobs if (job.header.quality or 100) <= POOR]
    if not poor:
        return None
    if len(batch.jobs) == 1:
        which = f"a JPEG of quality {poor[0].header.quality}"
    else:
        which = f"{len(poor)} of these are JPEGs of quality {POOR} or less"
    return f"{which}: --checkpoint=sr_jpeg undoes what the compression did"


def format_seconds(seconds: float) -> str:
    """A duration for people: "8 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _dimensions(size: Size) -> str:
    return f"{size[1]} x {size[0]}"


def print_above_bar(text: str) -> None:
    """Print a line without disturbing a progress bar."""
    tqdm.write(text, file=sys.stdout)
