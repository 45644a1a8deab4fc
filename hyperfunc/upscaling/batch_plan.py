"""Plan the files to enlarge: check them, and decide which of them have to be done.

What can be refused is refused here, before the work on a file begins. Of a collection of any size
a few batches are in memory. Outputs that the same request has made are skipped, so that an
interrupted run continues where it stopped.
"""

import collections
import dataclasses
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from hyperfunc.errors import UserError
from hyperfunc.files import Address, as_path
from hyperfunc.images import FORMATS, Header, check_output, read_header
from hyperfunc.pixels import enlarge
from hyperfunc.types import Size
from hyperfunc.upscaling.batch_files import pair_files
from hyperfunc.upscaling.memory import check_memory, own_memory
from hyperfunc.upscaling.missing import Mask
from hyperfunc.upscaling.records import Origin, Records, identify_file
from hyperfunc.upscaling.wrapping import Wrap
from hyperfunc.values import has_alpha

LARGEST_OUTPUT = 2**31
"""The largest number of pixels of one output."""

BATCH_SIZE = 256
"""Files that are planned at the same time. Small images among them share the shapes of tiles."""

FLOAT_BYTES = 12
"""What a sample takes besides where missing pixels are filled: it is rendered as floats first."""

ENCODER_COPIES = {"AVIF": 10, "WebP": 2}
"""How many times the memory of the output encoders take, as measured with images of 16 and 36
megapixels. Those of other formats write row by row, but what they cannot hold (floats in a PNG,
alpha in a JPEG) is converted before, into a copy."""

Status = Literal["done", "skipped", "failed", "pending"]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the outputs are to be. Either the scale or the size is given.

    Attributes:
        scale: (rows, columns), output pixels per input pixel.
        size: (height, width) in pixels, the same for every input.
        model: a digest of the model.
        quality: of JPEG, WebP and AVIF, see `hyperfunc.images.write_photo`.
        wrap: the axes along which the sides of the images meet, see `Upscaler`.
        linear: whether reductions average light, see `Upscaler`.
        mask: which pixels of the inputs are missing.
    """

    scale: tuple[float, float] | None = None
    size: Size | None = None
    model: str = ""
    quality: int = 95
    wrap: Wrap = ""
    linear: bool = False
    mask: Mask | None = None

    def describe_origin(self, source: Path, target: Path) -> Origin:
        """Describe what determines an output, for its record."""
        origin = {"input": [source.name, *identify_file(source)], "model": self.model}
        origin |= {"scale": list(self.scale)} if self.scale else {"size": list(self.size or ())}
        if FORMATS[target.suffix.lower()] not in ("PNG", "TIFF"):
            origin["quality"] = self.quality
        if self.wrap:
            origin["wrap"] = self.wrap
        if self.linear:
            origin["linear"] = True
        if self.mask is not None:
            origin["mask"] = self.mask.describe()
        return origin

    def find_size(self, name: str, size: Size) -> Size:
        """Return the size of the output for an input of ``size``, which errors call ``name``.

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
        noise: an estimate of its standard deviation, in levels of 255; see `estimate_noise`.
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
    noise: float | None = None
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
        header: of the input.
        size: (height, width) of the output, in pixels.
        outcome: for the report.
        origin: for the record beside the output.
        mask: which pixels of the input are missing.
        is_made_again: whether it replaces an output of another request or another input.
    """

    source: Path
    target: Path
    header: Header
    size: Size
    outcome: Outcome
    origin: Origin
    mask: Mask | None = None
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
    def working_bytes(self) -> int:
        """Memory for the output, and for what it is made of and encoded with."""
        format_, kind = FORMATS[self.target.suffix.lower()], self.header
        is_reduced = format_ == "PNG" and kind.dtype == "float32"
        is_flattened = format_ == "JPEG" and has_alpha(kind.channels)
        copies = 1 + ENCODER_COPIES.get(format_, int(is_reduced or is_flattened))
        rounding = FLOAT_BYTES * self.pixels * self.header.channels * (self.mask is not None)
        return self.output_bytes * copies + rounding

    @property
    def bytes(self) -> int:
        """Memory for the input and the output."""
        return self.header.bytes + self.working_bytes


@dataclasses.dataclass
class Batch:
    """Files that are planned at the same time.

    Attributes:
        jobs: the files to enlarge, in order.
        outcomes: of all files that were found, in order.
        quality: of the outputs.
        passed_over: files of the folder that are no images, counted by their suffixes.
    """

    jobs: list[Job]
    outcomes: list[Outcome]
    quality: int = 95
    passed_over: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def count(self, status: Status) -> int:
        """Count the files with a status."""
        return sum(outcome.status == status for outcome in self.outcomes)


def plan_batches(
    source: Path | Sequence[Path],
    target: str | os.PathLike[str],
    request: Request,
    *,
    overwrite: bool = False,
    suffix: str | None = None,
    size: int = BATCH_SIZE,
) -> Iterator[Batch]:
    """Check files, and decide where each output goes, some at a time.

    A file that cannot be enlarged is recorded as failed, one whose output was made by the same
    request as skipped. Of an output that hyperfunc has not made, or that was changed since, the
    file counts as failed.

    Args:
        source: a file, several files, or a folder whose images are taken at any depth.
        target: a file or a folder for a file, a folder otherwise. A path that ends with a slash
            is a folder, whether it exists or not.
        request: what the outputs are to be.
        overwrite: whether to replace all outputs that exist.
        suffix: of the outputs in a folder. If not given, that of the input, or `.png` where the
            format of the input cannot be written.
        size: files of a batch.

    Yields:
        Batches of ``size`` files, the last one of fewer.

    Raises:
        UserError: there is no input, or outputs cannot be written to the target. It is raised
            before the first batch.
    """
    sources = [as_path(source)] if isinstance(source, Path) else [as_path(x) for x in source]
    files, records = pair_files(sources, target, suffix), Records()
    inputs, outputs = [one.resolve() for one in sources], as_path(target).resolve()
    is_folder = len(sources) == 1 and sources[0].is_dir()
    while (pairs := list(itertools.islice(files.pairs, size))) or files.has_more:
        batch = Batch([], [], request.quality, files.passed_over)
        for folder, error in files.unreadable:
            below = as_path(target) / folder.relative_to(sources[0])
            batch.outcomes.append(Outcome(str(folder), str(below), "failed", error=error))
        files.passed_over = collections.Counter()
        files.unreadable.clear()
        for pair in pairs:
            outcome = Outcome(str(pair[0]), str(pair[1]))
            batch.outcomes.append(outcome)
            try:
                _check_target(*pair, inputs, outputs)
                own = _choose_mask(request, *pair, sources[0] if is_folder else pair[0].parent)
                _plan_file(batch, *pair, outcome, own, None if overwrite else records)
            except UserError as error:
                outcome.fail(str(error))
            except OSError as error:
                place = error.filename or pair[1]
                outcome.fail(f"{place}: cannot be checked ({error.strerror or error})")
        yield batch


def _plan_file(
    batch: Batch,
    source: Path,
    target: Path,
    outcome: Outcome,
    request: Request,
    records: Records | None,
) -> None:
    """Add a file to the jobs of a batch, if it is to be done."""
    origin = request.describe_origin(source, target)
    state = "missing" if records is None else records.compare(target, origin)
    if state == "same":
        outcome.status = "skipped"
        return
    job = _make_job(source, target, request, outcome, origin)
    batch.jobs.append(dataclasses.replace(job, is_made_again=state == "other"))


def _choose_mask(request: Request, source: Path, target: Path, root: Path) -> Request:
    """Return the request for one file, with the file's own mask."""
    if request.mask is None:
        return request
    mask = request.mask.choose(source, root)
    if mask.is_path and as_path(mask.source).resolve() == target.resolve():
        raise UserError(f"{target}: the output would replace the mask; name another")
    return dataclasses.replace(request, mask=mask)


def _check_target(source: Path, target: Path, inputs: Sequence[Path], outputs: Path) -> None:
    """Refuse an output that would replace its input, or another one below the given paths."""
    if source == target or (_are_local(source, target) and source.samefile(target)):
        raise UserError(f"{source}: input and output are one file; name another output")
    if not isinstance(target, Address) and not target.exists():
        return
    place = target.resolve()
    for given in inputs:
        # What lies in a folder of outputs is an output, also if that is below the inputs.
        is_output = given in outputs.parents and outputs in place.parents
        is_input = place == given or (given in place.parents and not is_output)
        if is_input and target.exists():
            raise UserError(f"{target}: the output would replace an input; name another")


def _are_local(source: Path, target: Path) -> bool:
    return not isinstance(source, Address) and not isinstance(target, Address) and target.exists()


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
    job = Job(source, target, header, size, outcome, origin, request.mask)
    # What this process holds now counts as free: earlier images are gone by then.
    check_memory(str(source), job.bytes, freed=own_memory())
    return job
