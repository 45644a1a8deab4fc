"""Enlarge files and folders of files: plan, decode ahead, render tile by tile, write, report.

Everything that can be refused is refused before anything is computed. A file that fails is set down
in its outcome, and the others go on. What exists already is passed over, so that a run that was
interrupted goes on where it stopped: an output is written beside its place and then renamed, hence
one that exists is whole.
"""

import collections
import contextlib
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from hyperfunc.atomic import replacing
from hyperfunc.datasets.files import find_images
from hyperfunc.errors import UserError
from hyperfunc.photos import (
    FORMATS,
    Header,
    Photo,
    check_output,
    read_header,
    read_photo,
    write_photo,
)
from hyperfunc.tiling import Upscaler
from hyperfunc.types import HostPixels, Size

LARGEST_OUTPUT = 2**31
"""Pixels of one output, at most."""

AHEAD = 2
"""Files that are decoded before the model needs them."""

Status = Literal["done", "skipped", "failed", "pending"]


@dataclasses.dataclass(frozen=True)
class Request:
    """How large outputs are to be: either is given.

    Attributes:
        scale: (rows, columns), output pixels per input pixel, at least 1.
        size: (height, width) in pixels, whatever the input.
    """

    scale: tuple[float, float] | None = None
    size: Size | None = None

    def apply(self, name: str, size: Size) -> Size:
        """The size of the output for an input of ``size``, rounded to whole pixels.

        Raises:
            UserError: it has too many pixels.
        """
        if self.size is not None:
            result = self.size
        else:
            assert self.scale is not None
            height, width = (
                max(math.floor(n * s + 0.5), 1) for n, s in zip(size, self.scale, strict=True)
            )
            result = (height, width)
        if math.prod(result) > LARGEST_OUTPUT:
            raise UserError(
                f"{name}: the output would have {result[1]} x {result[0]} pixels, "
                f"{math.prod(result) / 1e6:,.0f} million, and at most "
                f"{LARGEST_OUTPUT / 1e6:,.0f} million are possible: ask for less"
            )
        return result


@dataclasses.dataclass
class Outcome:
    """What became of one file; the fields are those of the JSON report.

    Attributes:
        input: path.
        output: path.
        status: "skipped" if the output existed, "pending" if the run ended before its turn.
        input_size: (width, height) in pixels, upright, if the file could be opened.
        output_size: (width, height) in pixels.
        channels: 1 to 4: grey, grey with alpha, RGB, RGBA.
        dtype: of the channels: uint8, uint16 or float32.
        seconds: rendering, compilation included, without decoding and writing.
        notes: what could not be kept as it was.
        error: why it failed.
    """

    input: str
    output: str
    status: Status = "pending"
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    channels: int | None = None
    dtype: str | None = None
    seconds: float | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """A file to enlarge."""

    source: Path
    target: Path
    header: Header
    size: Size
    outcome: Outcome

    @property
    def megapixels(self) -> float:
        """Of the output."""
        return math.prod(self.size) / 1e6

    @property
    def bytes(self) -> int:
        """Memory for input and output, and for Pillow's copy of the output (4 bytes a pixel)."""
        pixels, header = math.prod(self.size), self.header
        copy = pixels * (4 if header.dtype == np.uint8 else 0)
        return header.bytes + pixels * header.channels * header.dtype.itemsize + copy


@dataclasses.dataclass
class Batch:
    """All files of a run: what is to be done, and what is known of each file, in order."""

    jobs: list[Job]
    outcomes: list[Outcome]

    def count(self, status: Status) -> int:
        """How many files have a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    def save_report(self, path: Path, **about: Any) -> None:
        """Write {"done", "skipped", "failed", "pending", "files": [...]} and ``about`` as JSON.

        Raises:
            UserError: the place cannot be written to.
        """
        counts = {name: self.count(name) for name in ("done", "skipped", "failed", "pending")}
        files = [dataclasses.asdict(outcome) for outcome in self.outcomes]
        with replacing(path) as beside:
            beside.write_text(json.dumps({**about, **counts, "files": files}, indent=1) + "\n")


def plan(
    source: Path,
    target: Path,
    request: Request,
    *,
    overwrite: bool = False,
    suffix: str | None = None,
    skip: Callable[[Path], bool] = lambda path: False,
) -> Batch:
    """Look at all files, and decide what goes where and what need not or cannot be done.

    Args:
        source: a file, or a folder whose images are taken at any depth.
        target: a file or a folder for a file, a folder for a folder.
        request: the size of the outputs.
        overwrite: whether outputs that exist are made anew.
        suffix: of the outputs in a folder; that of the input (`.png` where it cannot be written) if
            not given.
        skip: files in the folder to leave out.

    Raises:
        UserError: there is no input, or the output cannot be where it was asked for.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; check the path")
    if source.is_dir():
        pairs = _pair_folder(source, target, suffix, skip)
    else:
        if target.is_dir() or str(target).endswith(("/", os.sep)):
            target = target / _rename(source, suffix).name
        check_output(target, (1, 1))
        pairs = [(source, target)]
    batch = Batch([], [])
    for one_source, one_target in tqdm(
        pairs, "looking", leave=False, delay=2.0, disable=None, unit="file"
    ):
        outcome = Outcome(str(one_source), str(one_target))
        batch.outcomes.append(outcome)
        try:
            if one_target.exists() and one_source.samefile(one_target):
                raise UserError(f"{one_source}: input and output are one file; name another output")
            if one_target.exists() and not overwrite:
                outcome.status = "skipped"
                continue
            header = read_header(one_source)
            outcome.input_size = (header.size[1], header.size[0])
            size = request.apply(str(one_source), header.size)
            outcome.output_size = (size[1], size[0])
            outcome.channels, outcome.dtype = header.channels, header.dtype.name
            check_output(one_target, size)
            job = Job(one_source, one_target, header, size, outcome)
            _check_memory(job)
            batch.jobs.append(job)
        except UserError as error:
            outcome.status, outcome.error = "failed", str(error)
        except OSError as error:
            outcome.status = "failed"
            outcome.error = f"{one_target}: cannot be looked at ({error.strerror or error})"
    return batch


def _pair_folder(
    source: Path, target: Path, suffix: str | None, skip: Callable[[Path], bool]
) -> list[tuple[Path, Path]]:
    if target.exists() and not target.is_dir():
        raise UserError(
            f"{target}: is a file, and the input a folder; name a folder for the output"
        )
    if target.resolve() == source.resolve():
        raise UserError(f"{source}: input and output are one folder; name another output")
    inside = target.resolve()
    files = [
        file
        for file in find_images(source)
        if inside not in Path(source, file.member).resolve().parents
        and not skip(Path(source, file.member))
    ]
    if not files:
        raise UserError(f"{source}: holds no images; give a folder of .png, .jpg, .webp, .tif")
    targets = [_rename(Path(file.member), suffix) for file in files]
    times = collections.Counter(str(path).lower() for path in targets)
    pairs = []
    for file, path in zip(files, targets, strict=True):
        if times[str(path).lower()] > 1:  # cat.bmp and cat.png: cat.bmp.png, cat.png.png
            path = Path(f"{file.member}{path.suffix}")
        pairs.append((source / file.member, target / path))
    return pairs


def _rename(path: Path, suffix: str | None) -> Path:
    return path.with_suffix(suffix or (path.suffix if path.suffix.lower() in FORMATS else ".png"))


def _check_memory(job: Job) -> None:
    with contextlib.suppress(AttributeError, ValueError, OSError):  # where nobody knows
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if job.bytes > memory:
            raise UserError(
                f"{job.source}: input and output together need {job.bytes / 2**30:.1f} GiB of "
                f"memory, and this machine has {memory / 2**30:.1f}: ask for a smaller output"
            )


def run(
    batch: Batch,
    upscaler: Upscaler,
    *,
    quality: int = 95,
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Do the jobs of a batch, and write down their outcomes.

    Files are decoded in threads ahead of the model, and written in a thread behind it.

    Args:
        batch: what to do.
        upscaler: the model.
        quality: of JPEG and WebP, see `hyperfunc.photos.write_photo`.
        threads: how many decode; as many as there are cores, up to 4, if not given.
        say: is given what a person wants to know.
    """
    jobs = batch.jobs
    threads = threads or min(4, os.cpu_count() or 1)
    total = sum(job.megapixels for job in jobs)
    clock = _Clock(total, upscaler, max((job.bytes for job in jobs), default=0), say)
    readers, writer = ThreadPoolExecutor(threads), ThreadPoolExecutor(1)
    bar = tqdm(
        total=total,
        unit="Mpx",
        disable=None,
        bar_format="{l_bar}{bar}| {n:.1f}/{total:.1f} Mpx [{elapsed}<{remaining}{postfix}]",
    )
    try:
        reading = _read_ahead(jobs, readers, max(AHEAD, threads))
        writing: Future[None] | None = None
        for i, (job, photo) in enumerate(reading, 1):
            bar.set_postfix_str(f"{i}/{len(jobs)} {job.source.name}")
            with _noting(job):
                result = _enlarge(job, photo.result(), upscaler, bar, clock)
                if writing is not None:  # one output in memory besides the one in work
                    writing.result()
                writing = writer.submit(_write, job, result, quality)
            bar.n = sum(done.megapixels for done in jobs[:i])
            bar.refresh()
        if writing is not None:
            writing.result()
    finally:
        bar.close()
        for pool in (readers, writer):  # what is being written is written to its end
            pool.shutdown(wait=True, cancel_futures=True)


def _read_ahead(
    jobs: list[Job], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[Job, "Future[Photo]"]]:
    waiting: collections.deque[tuple[Job, Future[Photo]]] = collections.deque()
    for job in jobs:
        waiting.append((job, pool.submit(read_photo, job.source)))
        if len(waiting) > ahead:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


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


def _enlarge(
    job: Job, photo: Photo, upscaler: Upscaler, bar: "tqdm[Any]", clock: "_Clock"
) -> Photo:
    height, width = photo.pixels.shape[:2]
    if (height, width) != job.header.size:
        raise UserError(f"{job.source}: has changed while it was worked on; run again")
    began, start = time.perf_counter(), bar.n

    def show(done: int, total: int) -> None:
        clock.note(done / total * job.megapixels)
        bar.n = start + job.megapixels * done / total
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
    colours = slice(0, pixels.shape[2] - (pixels.shape[2] in (2, 4)))
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
    """Says once, after the first tiles, how long all will take and how much memory."""

    def __init__(
        self, megapixels: float, upscaler: Upscaler, image_bytes: int, say: Callable[[str], None]
    ) -> None:
        self.megapixels, self.upscaler, self.image_bytes = megapixels, upscaler, image_bytes
        self.say, self.began, self.has_said = say, 0.0, False

    def note(self, megapixels: float) -> None:
        """Is told how much of the first image is done."""
        if self.has_said:
            return
        if megapixels == 0:
            self.began = time.perf_counter()
            return
        self.has_said = True
        seconds = (time.perf_counter() - self.began) * self.megapixels / megapixels
        gib = (self.upscaler.workspace + self.image_bytes) / 2**30
        self.say(f"expected: {format_seconds(seconds)}, {gib:.1f} GiB of memory")


def describe(batch: Batch, upscaler: Upscaler) -> str:
    """What is about to be done, for people."""
    jobs = batch.jobs
    if len(batch.outcomes) == 1 and jobs:
        job = jobs[0]
        tiles = len(upscaler.plan(job.header.size, job.size).tiles)
        return (
            f"{job.source}: {_dimensions(job.header.size)} -> {_dimensions(job.size)} pixels "
            f"({job.megapixels:.1f} Mpx), {tiles} tile{'s' * (tiles > 1)}"
        )
    pixels = sum(math.prod(job.header.size) for job in jobs) / 1e6
    tiles = sum(len(upscaler.plan(job.header.size, job.size).tiles) for job in jobs)
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
