"""``hyperfunc upscale``: enlarge an image, or all images of a folder.

What imports JAX is imported where it is used, so that ``--help`` answers at once.
"""

import dataclasses
import functools
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hyperfunc.commands.arguments import (
    Common,
    CommonFlags,
    Flag,
    OptionalNumber,
    OptionalPath,
    OptionalText,
    Positional,
    parse_size,
)
from hyperfunc.commands.functions import render_function
from hyperfunc.commands.running import noting_interrupt
from hyperfunc.errors import UserError, one_line
from hyperfunc.files import Address, as_path, check_place

if TYPE_CHECKING:
    from hyperfunc.experiment import Model
    from hyperfunc.upscaling import Batch, Request, Tally

SMALL_IMAGE = 160**2
"""Pixels up to which one image is not divided among cores: a program for one device compiles and
starts sooner."""

RANGES = {"quality": (1, 100), "tile": (8, 4096), "threads": (1, 256), "ray_cores": (1, 1024)}
"""The smallest and the largest number that these flags may have."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Enlarge an image, several images, or all images of a folder.

    Reads and writes PNG, JPEG, WebP, AVIF and TIFF. The output has the channels and the bit depth
    of the input, as far as its format has them: grey, RGB, alpha, 8 bits, 16 bits and floats. CMYK
    becomes sRGB. EXIF, the ICC profile, XMP, IPTC and the resolution are kept, and the EXIF
    orientation is applied. A JPEG has no transparency: the image is laid on white.

    Outputs that the same command has made are skipped, so run it again to continue after an
    interruption. With another scale, size, quality or checkpoint, or another input, they are made
    again. Files that hyperfunc did not make, or that were changed since, are refused. A file of a
    folder that fails does not stop the others; the failures are listed at the end (exit code 1).

    Attributes:
        source: an image, a function (.hfn), or a folder, whose subfolders are included.
        target: the output: a file or a folder/ for an image, a folder otherwise. The suffix of a
            file sets its format.
        more: more images may precede the output, which is the last word then, and a folder:
            hyperfunc upscale a.jpg b.jpg large/
        scale: output pixels per input pixel, such as 3, 2.5, or 2.5x1 for rows x columns. Below 1
            the image is reduced.
        size: width x height of the output in pixels, such as 3840x2160. Give either a scale or a
            size.
        checkpoint: the workdir of a training run, or the name of a bundled checkpoint: sr, or
            sr_jpeg, which also removes JPEG artefacts.
        wrap: along these axes opposite sides of the image meet: x (left and right) for panoramas of
            360 degrees, xy for textures that repeat.
        linear: average light, not the values as they are stored, where an image of integers
            becomes smaller on both axes.
        overwrite: replace whatever exists in the place of an output.
        format: the format of the outputs of a folder. If not given, that of each input.
        quality: quality of JPEG, WebP and AVIF, from 1 to 100. WebP and AVIF are lossless at 100.
        report: write what happened to each file to this JSON file.
        tile: the largest side of a tile in input pixels. A smaller one needs less memory and more
            time. If not given, 512 on one or two cores (or accelerators), and 256 on more.
        threads: number of threads that decode files ahead of the model.
        ray: work on a Ray cluster, whose head is at host:port. Alone, --ray takes a cluster of this
            machine, and starts one if there is none.
        ray_cores: cores of each process on the cluster.
    """

    source: Positional[Annotated[Path, tyro.conf.arg(metavar="IN")]]
    target: Positional[Annotated[str, tyro.conf.arg(metavar="OUT")]]
    more: Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="...", help_behavior_hint="")]
    ] = ()
    scale: OptionalText = None
    size: OptionalText = None
    checkpoint: str = "sr"
    wrap: Annotated[
        Literal["", "x", "y", "xy"], tyro.conf.arg(metavar="{x,y,xy}", help_behavior_hint="")
    ] = ""
    linear: Flag = False
    overwrite: Flag = False
    format: Annotated[
        Literal["png", "jpg", "webp", "avif", "tif"] | None,
        tyro.conf.arg(metavar="{png,jpg,webp,avif,tif}", help_behavior_hint=""),
    ] = None
    quality: int = 95
    report: OptionalPath = None
    tile: OptionalNumber = None
    threads: int = 4
    ray: Annotated[str | None, tyro.conf.arg(metavar="[=ADDRESS]", help_behavior_hint="")] = None
    ray_cores: int = 1
    common: CommonFlags = Common()


def run(
    arguments: Arguments, *, command: str = "upscale", strength: float = 1.0, mask: str = ""
) -> None:
    """Plan the files to enlarge, enlarge them, and say what happened to each.

    ``command`` is its name in the report; for the strength of a model that restores see
    `Model.with_strength`, for the mask of missing pixels `hyperfunc.upscaling.Mask`.

    Raises:
        UserError: nothing can be enlarged, or the only file failed.
        SystemExit: some files of a folder failed, or Ctrl-C was pressed.
    """
    from hyperfunc.devices import use_cpu_cores

    use_cpu_cores(1 if not arguments.more and _is_small(arguments.source) else None)
    from hyperfunc.experiment import load_model
    from hyperfunc.upscaling import Mask, Tally, plan_batches, print_above_bar

    began = time.perf_counter()
    request = _parse_request(arguments)
    _check_ranges(arguments)
    say = (lambda text: None) if arguments.common.quiet else print_above_bar
    *sources, target = arguments.source, arguments.target, *arguments.more
    if arguments.source.suffix.lower() == ".hfn" and len(sources) == 1:
        say(_render_function_file(arguments, request))
        return
    model = load_model(arguments.checkpoint)
    model.check_task("SuperResolution")
    _check_filling(model, command, mask)
    model = model.with_strength(strength) if strength != 1 else model
    if mask:
        request = dataclasses.replace(request, mask=Mask(mask))
    request = dataclasses.replace(request, model=model.fingerprint)
    plan = functools.partial(
        plan_batches,
        [as_path(source) for source in sources],
        target,
        request,
        overwrite=arguments.overwrite,
        suffix=f".{arguments.format}" if arguments.format else None,
    )
    is_single = not (arguments.source.is_dir() or arguments.more)
    first = next(batches := plan())
    _check_report(arguments.report, first)
    tally = Tally(arguments.report)
    try:
        _enlarge(first, batches, plan, model, arguments, say, tally, is_single=is_single)
    finally:
        tally.finish(
            command=command,
            checkpoint=arguments.checkpoint,
            scale=arguments.scale,
            size=arguments.size,
            seconds=round(time.perf_counter() - began, 3),
        )
    _report_outcomes(tally, say, is_single=is_single)


def _check_filling(model: "Model", command: str, mask: str) -> None:
    """Check that a model that fills missing pixels has a mask, and a mask such a model."""
    if mask:
        model.check_filling()
    elif command == "restore" and model.fills:
        raise UserError(f"{model.path} fills missing pixels only: say with --mask which ones")
    elif model.fills:
        use = "use --checkpoint=sr to enlarge, and hyperfunc restore --mask to fill"
        print(f"warning: {model.path} fills missing pixels only: {use}", file=sys.stderr)


def _render_function_file(arguments: Arguments, request: "Request") -> str:
    source, target = arguments.source, arguments.target
    unset = {"wrap": "", "linear": False, "report": None, "tile": None, "ray": None}
    flags = [f"--{name}" for name, value in unset.items() if getattr(arguments, name) != value]
    if flags:
        raise UserError(f"{source}: is a function; leave out {', '.join(flags)}: for images only")
    suffix = f".{arguments.format}" if arguments.format else None
    return render_function(source, target, request, suffix=suffix, overwrite=arguments.overwrite)


def _is_small(source: Path) -> bool:
    """Whether the source is one small image, which is looked at only if that is cheap."""
    from hyperfunc.images import read_header

    if isinstance(source, Address):
        return False
    try:
        return source.is_file() and math.prod(read_header(source).size) <= SMALL_IMAGE
    except (OSError, UserError):  # It is refused later.
        return False


def _parse_request(arguments: Arguments) -> "Request":
    from hyperfunc.pixels import parse_scale
    from hyperfunc.upscaling import Request

    if (arguments.scale is None) == (arguments.size is None):
        raise UserError("how large? give one of --scale 3 and --size 3840x2160 (width x height)")
    names = ("quality", "wrap", "linear")
    options: dict[str, Any] = {name: getattr(arguments, name) for name in names}
    if arguments.size is not None:
        return Request(size=parse_size(arguments.size), **options)
    return Request(scale=parse_scale(arguments.scale or ""), **options)


def _check_ranges(arguments: Arguments) -> None:
    for name, (lowest, highest) in RANGES.items():
        value = getattr(arguments, name)
        if value is not None and not lowest <= value <= highest:
            words = f"--{name.replace('_', '-')} {value}"
            raise UserError(f"{words}: give a whole number from {lowest} to {highest}")


def _check_report(report: Path | None, batch: "Batch") -> None:
    """Refuse a report that cannot be written, or would replace an image."""
    from hyperfunc.images import SUFFIXES

    if report is None:
        return
    images = {as_path(path).resolve() for x in batch.outcomes for path in (x.input, x.output)}
    if report.suffix.lower() in SUFFIXES or report.resolve() in images:
        raise UserError(f"{report}: is an image here; name another file for --report")
    check_place(report)


def _enlarge(
    first: "Batch",
    others: "Iterator[Batch]",
    plan: "Callable[[], Iterator[Batch]]",
    model: "Model",
    arguments: Arguments,
    say: Callable[[str], None],
    tally: "Tally",
    *,
    is_single: bool,
) -> None:
    """Enlarge the files of the batches, of which the first one decides whether that is possible."""
    from hyperfunc.upscaling import (
        Upscaler,
        advise,
        advise_against_noise,
        run_batches,
        run_on_ray,
    )

    def finish(batch: "Batch") -> None:
        tally.add(batch)
        for outcome in batch.outcomes:
            for note in outcome.notes:
                say(f"{outcome.input}: {note}")
        if arguments.checkpoint == "sr" and (advice := advise_against_noise(batch)):
            say(advice)

    batches = _check_batches(first, others, finish, is_single=is_single)
    plans_again = arguments.ray is not None and not is_single
    for batch in batches:
        if batch.jobs or plans_again:  # On the cluster.
            break
        finish(batch)
    else:
        return
    if arguments.checkpoint == "sr" and (advice := advise(batch)):
        say(advice)
    make_upscaler = functools.partial(
        Upscaler.of_model,
        model,
        largest_tile=arguments.tile,
        wrap=arguments.wrap,
        linear=arguments.linear,
    )
    if arguments.ray is None:
        run = functools.partial(run_batches, itertools.chain([batch], batches), make_upscaler())
    else:
        options = {"cores": arguments.ray_cores, "overwrite": arguments.overwrite}
        run = functools.partial(run_on_ray, plan, make_upscaler, address=arguments.ray, **options)
    with noting_interrupt() as is_interrupted:
        try:
            run(threads=arguments.threads, say=say, is_interrupted=is_interrupted, finish=finish)
        except (KeyboardInterrupt, UserError):  # The disk is full.
            say(f"{tally.counts['done']} done; the same command goes on from here")
            raise


def _check_batches(
    first: "Batch",
    others: "Iterator[Batch]",
    finish: "Callable[[Batch], None]",
    *,
    is_single: bool,
) -> "Iterator[Batch]":
    """Yield the batches, and check before each that its outputs can be written."""
    from hyperfunc.upscaling import check_places

    try:
        if is_single and first.outcomes[0].error:
            raise UserError(first.outcomes[0].error)
        check_places(first)
    except UserError:
        finish(first)
        raise
    yield first
    for batch in others:
        check_places(batch, is_first=False)
        yield batch


def _report_outcomes(tally: "Tally", say: Callable[[str], None], *, is_single: bool) -> None:
    """Say what happened to the files, and end with the exit code that it means."""
    from hyperfunc.upscaling import describe_counts

    if is_single:
        outcome = tally.last
        assert outcome is not None
        if outcome.error:
            raise UserError(outcome.error)
        if outcome.status == "skipped":
            say(f"{outcome.output}: made by the same command before, skipped")
        else:
            say(f"{outcome.output}: done in {outcome.seconds:.1f} s")
        return
    if tally.passed_over:
        counts = describe_counts(tally.passed_over)
        say(f"passed over (hyperfunc info FILE says why): {counts}")
    failed = tally.counts["failed"]
    say(f"{tally.counts['done']} done, {tally.counts['skipped']} skipped, {failed} failed")
    for error in tally.errors:
        print(f"error: {one_line(error)}", file=sys.stderr)
    if failed > len(tally.errors):
        more = failed - len(tally.errors)
        print(f"error: {more} more files failed; --report lists them all", file=sys.stderr)
    if failed:
        raise SystemExit(1)
