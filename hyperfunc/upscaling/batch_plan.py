"""Plan the files to enlarge: find them, check them, and decide where each output goes.

Everything that can be refused is refused here, before the work begins. Outputs that the same
request has made are skipped, so that an interrupted run continues where it stopped.
"""

import collections
import contextlib
import dataclasses
import math
import os
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from hyperfunc.errors import UserError
from hyperfunc.files import check_local, save_json
from hyperfunc.images import FORMATS, SUFFIXES, Header, check_output, find_images, read_header
from hyperfunc.pixels import enlarge
from hyperfunc.types import Size
from hyperfunc.upscaling.records import Origin, Records, identify_file

LARGEST_OUTPUT = 2**31
"""The largest number of pixels of one output."""

Status = Literal["done", "skipped", "failed", "pending"]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the outputs are to be. Either the scale or the size is given.

    Attributes:
        scale: (rows, columns), output pixels per input pixel, at least 1.
        size: (height, width) in pixels, the same for every input.
        model: a digest of the model.
        quality: of JPEG, WebP and AVIF, see `hyperfunc.images.write_photo`.
    """

    scale: tuple[float, float] | None = None
    size: Size | None = None
    model: str = ""
    quality: int = 95

    def describe_origin(self, source: Path, target: Path) -> Origin:
        """Describe what determines an output, for its record."""
        origin = {"input": [source.name, *identify_file(source)], "model": self.model}
        origin |= {"scale": list(self.scale)} if self.scale else {"size": list(self.size or ())}
        if FORMATS[target.suffix.lower()] not in ("PNG", "TIFF"):
            origin["quality"] = self.quality
        return origin

    def find_size(self, name: str, size: Size) -> Size:
        """Return the size of the output for an input of ``size``, rounded to whole pixels.

        Args:
            name: what to call the input in an error message.
            size: (height, width) of the input.

        Raises:
            UserError: the output would have too many pixels.
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
                f"{math.prod(result) / 1e6:,.0f} million; the limit is "
                f"{LARGEST_OUTPUT / 1e6:,.0f} million: ask for a smaller output"
            )
        return result


@dataclasses.dataclass
class Outcome:
    """What became of one file. The fields are those of the JSON report.

    Attributes:
        input: path.
        output: path.
        status: "skipped" if this request had made the output before, "pending" if the run ended
            before its turn.
        input_size: (width, height) in pixels, upright, if the file could be opened.
        output_size: (width, height) in pixels.
        channels: 1 to 4: grey, grey with alpha, RGB, RGBA.
        dtype: of the channels: uint8, uint16 or float32.
        seconds: time to render, including compilation, without decoding and writing.
        notes: what could not be preserved.
        error: why the file failed.
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

    def fail(self, error: str) -> None:
        """Record why the file failed."""
        self.status, self.error = "failed", error


@dataclasses.dataclass(frozen=True)
class Job:
    """A file to enlarge.

    Attributes:
        source: the input.
        target: the output.
        header: what the input says of itself.
        size: (height, width) of the output, in pixels.
        outcome: the record of whether it was done, for the report.
        origin: what the output is made of, for the record beside it.
        is_made_again: whether it replaces an output of another request or another input.
    """

    source: Path
    target: Path
    header: Header
    size: Size
    outcome: Outcome
    origin: Origin
    is_made_again: bool = False

    @property
    def pixels(self) -> int:
        """Number of pixels of the output."""
        return math.prod(self.size)

    @property
    def output_bytes(self) -> int:
        """Memory for the output."""
        return self.pixels * self.header.channels * self.header.dtype.itemsize

    @property
    def bytes(self) -> int:
        """Memory for the input and the output."""
        return self.header.bytes + self.output_bytes


@dataclasses.dataclass
class Batch:
    """The files of a run.

    Attributes:
        jobs: the files to enlarge, in order.
        outcomes: of all files that were found, in order.
        quality: of the outputs.
    """

    jobs: list[Job]
    outcomes: list[Outcome]
    quality: int = 95

    def count(self, status: Status) -> int:
        """Count the files with a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    def save_report(self, path: Path, **about: Any) -> None:
        """Write {"done", "skipped", "failed", "pending", "files": [...]} and ``about`` as JSON.

        Raises:
            UserError: the file cannot be written.
        """
        counts = {name: self.count(name) for name in ("done", "skipped", "failed", "pending")}
        files = [dataclasses.asdict(outcome) for outcome in self.outcomes]
        save_json(path, {**about, **counts, "files": files})


def plan_batch(
    source: Path,
    target: str | os.PathLike[str],
    request: Request,
    *,
    overwrite: bool = False,
    suffix: str | None = None,
) -> Batch:
    """Check all files, and decide where each output goes.

    A file that cannot be enlarged is recorded as failed, one whose output was made by the same
    request as skipped. Of an output that hyperfunc has not made, or that was changed since, the
    file counts as failed.

    Args:
        source: a file, or a folder whose images are taken at any depth.
        target: a file or a folder for a file, a folder for a folder. A path that ends with a slash
            is a folder, whether it exists or not.
        request: what the outputs are to be.
        overwrite: whether to replace all outputs that exist.
        suffix: of the outputs in a folder. If not given, that of the input, or `.png` where the
            format of the input cannot be written.

    Raises:
        UserError: there is no input, or outputs cannot be written to the target.
    """
    check_local(source), check_local(target)
    batch, records = Batch([], [], request.quality), Records()
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; check the path")
    if source.is_dir():
        pairs, batch.outcomes = _pair_folder(source, Path(target), suffix)
    else:
        pairs = [(source, _choose_target(source, target, suffix))]
    sources = {one_source.resolve() for one_source, _ in pairs}
    for one_source, one_target in tqdm(
        pairs, "checking", leave=False, delay=2.0, disable=None, unit="file"
    ):
        outcome = Outcome(str(one_source), str(one_target))
        batch.outcomes.append(outcome)
        try:
            _check_target(one_source, one_target, sources)
            origin = request.describe_origin(one_source, one_target)
            state = "missing" if overwrite else records.compare(one_target, origin)
            if state == "foreign":
                raise UserError(
                    f"{one_target}: exists, and hyperfunc did not make it or it was changed since; "
                    "--overwrite replaces it"
                )
            if state == "same":
                outcome.status = "skipped"
                continue
            job = _make_job(one_source, one_target, request, outcome, origin)
            batch.jobs.append(dataclasses.replace(job, is_made_again=state == "other"))
        except UserError as error:
            outcome.fail(str(error))
        except OSError as error:
            outcome.fail(f"{one_target}: cannot be checked ({error.strerror or error})")
    return batch


def _choose_target(source: Path, target: str | os.PathLike[str], suffix: str | None) -> Path:
    """The output of a single file."""
    path = Path(target)
    if path.is_dir() or os.fspath(target).endswith(("/", os.sep)):
        path = path / _rename(source, suffix).name
    check_output(path, (1, 1))
    return path


def _check_target(source: Path, target: Path, sources: set[Path]) -> None:
    """Refuse an output that would replace an input."""
    if target.exists() and source.samefile(target):
        raise UserError(f"{source}: input and output are one file; name another output")
    if target.resolve() in sources:
        raise UserError(f"{target}: the output would replace an input; name another")


def _make_job(
    source: Path, target: Path, request: Request, outcome: Outcome, origin: Origin
) -> Job:
    """Read what a file says of itself, and check that its output is possible."""
    header = read_header(source)
    outcome.input_size = (header.size[1], header.size[0])
    size = request.find_size(str(source), header.size)
    outcome.output_size = (size[1], size[0])
    outcome.channels, outcome.dtype = header.channels, header.dtype.name
    check_output(target, size)
    job = Job(source, target, header, size, outcome, origin)
    _check_memory(job)
    return job


def _check_memory(job: Job) -> None:
    with contextlib.suppress(AttributeError, ValueError, OSError):  # The system may not know.
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if job.bytes > memory:
            raise UserError(
                f"{job.source}: input and output together need {job.bytes / 2**30:.1f} GiB of "
                f"memory, and this machine has {memory / 2**30:.1f}: ask for a smaller output"
            )


def _pair_folder(
    source: Path, target: Path, suffix: str | None
) -> tuple[list[tuple[Path, Path]], list[Outcome]]:
    """Find the images of a folder, and their outputs; unreadable folders are recorded as failed."""
    unreadable: list[Outcome] = []

    def note(folder: Path, error: UserError) -> None:
        outcome = Outcome(str(folder), str(target / folder.relative_to(source)))
        outcome.fail(str(error))
        unreadable.append(outcome)

    if target.exists() and not target.is_dir():
        raise UserError(
            f"{target}: is a file, and the input a folder; name a folder for the output"
        )
    if target.resolve() == source.resolve():
        raise UserError(f"{source}: input and output are one folder; name another output")
    members = [Path(file.member) for file in find_images(source, note=note)]
    outputs = target.resolve()
    if source.resolve() in outputs.parents:  # The outputs of an earlier run are no inputs.
        members = [x for x in members if outputs not in (source / x).resolve().parents]
    if not members:
        if unreadable:
            raise UserError(unreadable[0].error)
        raise UserError(f"{source}: holds no images; give a folder with {', '.join(SUFFIXES)}")
    names = _choose_names(members, suffix)
    pairs = [(source / x, target / name) for x, name in zip(members, names, strict=True)]
    return pairs, unreadable


def _choose_names(members: list[Path], suffix: str | None) -> list[Path]:
    """Choose the outputs' names, no two of which are equal, even where case is ignored.

    Files whose names would be equal keep their suffix: cat.bmp and cat.png become cat.bmp.png and
    cat.png.png.
    """
    names = [_rename(member, suffix) for member in members]
    counts = collections.Counter(str(name).lower() for name in names)
    taken = {name for name, count in counts.items() if count == 1}
    for i, (member, name) in enumerate(zip(members, names, strict=True)):
        if counts[str(name).lower()] == 1:
            continue
        longer = Path(f"{member}{name.suffix}")
        while str(longer).lower() in taken:
            longer = Path(f"{longer}{name.suffix}")
        taken.add(str(longer).lower())
        names[i] = longer
    return names


def _rename(path: Path, suffix: str | None) -> Path:
    return path.with_suffix(suffix or (path.suffix if path.suffix.lower() in FORMATS else ".png"))
