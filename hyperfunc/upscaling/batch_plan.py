"""What is to be enlarged: files are looked at, and all that can be refused is refused beforehand.

A `Job` is a file with its output; a `Batch` has all of a run, and the `Outcome` of each. What
exists already is passed over, so that a run that was interrupted goes on where it stopped.
"""

import collections
import contextlib
import dataclasses
import math
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from hyperfunc.errors import UserError
from hyperfunc.files import save_json
from hyperfunc.images import FORMATS, Header, check_output, find_images, read_header
from hyperfunc.pixels import enlarge
from hyperfunc.types import Size

LARGEST_OUTPUT = 2**31
"""Pixels of one output, at most."""

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
            height, width = (enlarge(n, s) for n, s in zip(size, self.scale, strict=True))
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
        save_json(path, {**about, **counts, "files": files})


def plan(
    source: Path,
    target: str | os.PathLike[str],
    request: Request,
    *,
    overwrite: bool = False,
    suffix: str | None = None,
) -> Batch:
    """Look at all files, and decide what goes where and what need not or cannot be done.

    Args:
        source: a file, or a folder whose images are taken at any depth.
        target: a file or a folder for a file, a folder for a folder. What ends with a slash is a
            folder, whether it is there or not.
        request: the size of the outputs.
        overwrite: whether outputs that exist are made anew.
        suffix: of the outputs in a folder; that of the input (`.png` where it cannot be written) if
            not given.

    Raises:
        UserError: there is no input, or the output cannot be where it was asked for.
    """
    is_folder = os.fspath(target).endswith(("/", os.sep))
    target = Path(target)
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; check the path")
    batch = Batch([], [])
    if source.is_dir():
        pairs, batch.outcomes = _pair_folder(source, target, suffix)
    else:
        if target.is_dir() or is_folder:
            target = target / _rename(source, suffix).name
        check_output(target, (1, 1))
        pairs = [(source, target)]
    sources = {one_source.resolve() for one_source, _ in pairs}
    for one_source, one_target in tqdm(
        pairs, "looking", leave=False, delay=2.0, disable=None, unit="file"
    ):
        outcome = Outcome(str(one_source), str(one_target))
        batch.outcomes.append(outcome)
        try:
            if one_target.exists() and one_source.samefile(one_target):
                raise UserError(f"{one_source}: input and output are one file; name another output")
            if one_target.resolve() in sources:
                raise UserError(f"{one_target}: the output would replace an input; name another")
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
    source: Path, target: Path, suffix: str | None
) -> tuple[list[tuple[Path, Path]], list[Outcome]]:
    """The images of a folder with their outputs, and the folders that may not be looked into."""
    refused: list[Outcome] = []

    def note(folder: Path, error: UserError) -> None:
        place = target / folder.relative_to(source)
        refused.append(Outcome(str(folder), str(place), "failed", error=str(error)))

    if target.exists() and not target.is_dir():
        raise UserError(
            f"{target}: is a file, and the input a folder; name a folder for the output"
        )
    if target.resolve() == source.resolve():
        raise UserError(f"{source}: input and output are one folder; name another output")
    files = find_images(source, note=note)
    inside = target.resolve()
    if source.resolve() in inside.parents:  # What an earlier run wrote there is no input.
        files = [x for x in files if inside not in Path(source, x.member).resolve().parents]
    if not files:
        if refused:
            raise UserError(refused[0].error)
        raise UserError(f"{source}: holds no images; give a folder of .png, .jpg, .webp, .tif")
    targets = [_rename(Path(file.member), suffix) for file in files]
    times = collections.Counter(str(path).lower() for path in targets)
    taken = {name for name, count in times.items() if count == 1}
    pairs = []
    for file, path in zip(files, targets, strict=True):
        if times[str(path).lower()] > 1:  # cat.bmp and cat.png: cat.bmp.png, cat.png.png
            path = Path(f"{file.member}{path.suffix}")
            while str(path).lower() in taken:
                path = Path(f"{path}{path.suffix}")
            taken.add(str(path).lower())
        pairs.append((source / file.member, target / path))
    return pairs, refused


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
