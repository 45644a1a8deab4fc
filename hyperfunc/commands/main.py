"""The command ``hyperfunc``: parse arguments, call what does the work; no logic.

hyperfunc upscale photo.jpg large.png --scale 3
hyperfunc upscale photos/ large/ --size 3840x2160 --report report.json
hyperfunc info photo.jpg
hyperfunc export photo.jpg --function photo.hfn --html photo.html
hyperfunc view photo.jpg

Exit codes: 0, all done; 1, some files of a folder failed; 2, nothing could be done; 130, Ctrl-C.
What starts JAX is imported where it is used, so that ``--help`` is there at once.
"""

import contextlib
import dataclasses
import io
import math
import sys
import tempfile
import time
import warnings
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hyperfunc.errors import UserError, report_errors
from hyperfunc.files import check_place

if TYPE_CHECKING:
    from hyperfunc.experiment import Model
    from hyperfunc.function import FunctionalImage
    from hyperfunc.upscaling import Batch

Positional = tyro.conf.Positional


@dataclasses.dataclass(frozen=True)
class Upscale:
    """Enlarge an image, or all images of a folder.

    PNG, JPEG, WebP and TIFF; grey, RGB, alpha, palettes, 8 and 16 bits and floats stay what they
    are, CMYK becomes sRGB. EXIF, ICC profile, XMP and resolution are kept; the EXIF orientation is
    applied. Where the output is a JPEG, transparent images are laid on white.

    Outputs that exist are skipped, so that an interrupted run goes on when it is started again. Of
    a folder, files that fail are listed at the end (exit code 1) and the others are done.

    Attributes:
        source: an image, or a folder (subfolders included).
        target: the output: a file or a folder/ for an image, a folder for a folder. The suffix says
            the format.
        scale: output pixels per input pixel, at least 1: 3, 2.5, or 2.5x1 for rows x columns.
        size: instead of a scale, the output's width x height in pixels: 3840x2160.
        checkpoint: a training run, or the name of a bundled checkpoint (sr; sr_jpeg undoes what
            JPEG did).
        overwrite: make outputs anew that exist.
        format: of the outputs of a folder: png, jpg, webp or tif; as the input if not given.
        quality: of JPEG and WebP, 1 to 100; WebP is lossless at 100.
        report: write what became of each file to this JSON file.
        tile: side of a tile in input pixels, at most: less needs less memory, and more time; if not
            given, 512 on one or two cores (or accelerators), 256 on more.
        threads: how many threads decode files ahead of the model.
        quiet: print errors only.
    """

    source: Positional[Annotated[Path, tyro.conf.arg(metavar="IN")]]
    target: Positional[Annotated[str, tyro.conf.arg(metavar="OUT")]]
    scale: str | None = None
    size: str | None = None
    checkpoint: str = "sr"
    overwrite: bool = False
    format: Literal["png", "jpg", "webp", "tif"] | None = None
    quality: int = 95
    report: Path | None = None
    tile: int | None = None
    threads: int = 4
    quiet: bool = False


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a file is: an image, a checkpoint (a training run), or a function (.hfn).

    Attributes:
        path: the image, folder or function.
    """

    path: Positional[Annotated[Path, tyro.conf.arg(metavar="PATH")]]


@dataclasses.dataclass(frozen=True)
class Export:
    """Turn an image into a function, and write it as a file or as a page to look at it.

    Attributes:
        source: an image (transparent ones are laid on white), or a function (.hfn).
        function: write the function to this file (.hfn).
        html: write a page that shows the function in a browser, without a server.
        checkpoint: a training run, or the name of a bundled checkpoint.
        quantize: how the function's parameters are stored: int8, float16, or none for float32.
        title: a heading for the page; the file's name if not given.
    """

    source: Positional[Annotated[Path, tyro.conf.arg(metavar="IN")]]
    function: Path | None = None
    html: Path | None = None
    checkpoint: str = "sr"
    quantize: Literal["int8", "float16", "none"] = "int8"
    title: str | None = None


@dataclasses.dataclass(frozen=True)
class View:
    """Look at an image as a function, in a browser: zoom without end.

    Attributes:
        source: an image, or a function (.hfn).
        checkpoint: a training run, or the name of a bundled checkpoint.
    """

    source: Positional[Annotated[Path, tyro.conf.arg(metavar="IN")]]
    checkpoint: str = "sr"


Command = (
    Annotated[Upscale, tyro.conf.subcommand("upscale", prefix_name=False)]
    | Annotated[Info, tyro.conf.subcommand("info", prefix_name=False)]
    | Annotated[Export, tyro.conf.subcommand("export", prefix_name=False)]
    | Annotated[View, tyro.conf.subcommand("view", prefix_name=False)]
)


def main(args: list[str] | None = None) -> None:
    """Run the command with the given arguments, or those of the process."""
    command: Any = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="hyperfunc",
        description="Images as continuous functions: enlarge them by any factor.",
        args=sys.argv[1:] if args is None else args,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    run = {Upscale: upscale, Info: info, Export: export, View: view}[type(command)]
    _escape_unprintable_names()
    with report_errors(ends_process=args is None), _pillow_settings():
        run(command)


def upscale(command: Upscale) -> None:
    """Run ``hyperfunc upscale``."""
    from hyperfunc.devices import use_cpu_cores

    use_cpu_cores()
    from hyperfunc.upscaling import (
        Upscaler,
        advise,
        describe,
        plan,
        print_above_bar,
        run_batch,
    )

    request = _parse_request(command)
    for name, value, low, high in (
        ("quality", command.quality, 1, 100),
        ("tile", command.tile, 8, 4096),
        ("threads", command.threads, 1, 256),
    ):
        if value is not None and not low <= value <= high:
            raise UserError(f"--{name} {value}: give a whole number from {low} to {high}")
    began = time.perf_counter()
    batch = plan(
        command.source,
        command.target,
        request,
        overwrite=command.overwrite,
        suffix=f".{command.format}" if command.format else None,
    )
    if command.report is not None:
        files = (path for x in batch.outcomes for path in (x.input, x.output))
        if command.report.resolve() in {Path(path).resolve() for path in files}:
            raise UserError(f"{command.report}: is an image here; name another file for --report")
        check_place(command.report)
    is_single = not command.source.is_dir()
    say = (lambda text: None) if command.quiet else print_above_bar
    try:
        if is_single and batch.outcomes[0].error:
            raise UserError(batch.outcomes[0].error)
        if batch.jobs:
            model = _load_super_resolution(command.checkpoint)
            upscaler = Upscaler(model.hypernetwork, model.variables, largest_tile=command.tile)
            say(describe(batch, upscaler))
            if command.checkpoint == "sr" and (advice := advise(batch)):
                say(advice)
            run_batch(batch, upscaler, quality=command.quality, threads=command.threads, say=say)
    except KeyboardInterrupt:
        say(f"{batch.count('done')} done; the same command goes on from here")
        raise
    finally:
        if command.report is not None:
            batch.save_report(
                command.report,
                command="upscale",
                checkpoint=command.checkpoint,
                scale=command.scale,
                size=command.size,
                seconds=round(time.perf_counter() - began, 3),
            )
    _conclude(batch, say, is_single)


def info(command: Info) -> None:
    """Run ``hyperfunc info``."""
    path = command.path
    if path.suffix.lower() == ".hfn" and path.is_file():
        from hyperfunc.export import load_header

        for key, value in load_header(path).items():
            if key != "tensors":
                print(f"{key}: {value}")
    elif path.is_dir() or not path.exists():
        _describe_checkpoint(path)
    else:
        from hyperfunc.images import read_header

        header = read_header(path)
        quality = f" of quality {header.quality}" if header.quality else ""
        print(f"{path}: {header.format}{quality}, {header.size[1]} x {header.size[0]} pixels")
        print(f"colours: {header.colours}, {header.bits} bits per channel")
        kept = header.metadata
        if header.orientation != 1:
            print(f"orientation: {header.orientation} (the size above is upright)")
        if header.frames > 1:
            print(f"images: {header.frames}, of which the first is used")
        if kept.dpi:
            print("resolution: " + " x ".join(f"{dpi:g}" for dpi in kept.dpi) + " dpi")
        present = [name for name in ("exif", "icc", "xmp") if getattr(kept, name)]
        if present:
            print(f"metadata: {', '.join(name.upper() for name in present)}")


def export(command: Export) -> None:
    """Run ``hyperfunc export``."""
    if command.function is None and command.html is None:
        raise UserError("nothing to export: give --function out.hfn, --html out.html, or both")
    source, targets = command.source, [x for x in (command.function, command.html) if x is not None]
    for target in targets:
        if target.exists() and source.exists() and target.samefile(source):
            raise UserError(f"{target}: input and output are one file; name another output")
    if len({target.resolve() for target in targets}) < len(targets):
        raise UserError(f"{targets[0]}: two outputs are one file; name another one")
    function, about = _load_function(source, command.checkpoint, for_page=command.html is not None)
    if command.function is not None:
        from hyperfunc.export import save_function

        quantize = None if command.quantize == "none" else command.quantize
        save_function(command.function, function, quantize=quantize, about=about)
        size = command.function.stat().st_size
        pixels = math.prod(function.size)
        print(f"{command.function}: {size:,} bytes, {size / pixels:.1f} per input pixel")
    if command.html is not None:
        from hyperfunc.export import export_html

        export_html(function, command.html, title=command.title or command.source.name)
        print(f"{command.html}: {command.html.stat().st_size:,} bytes")


def view(command: View) -> None:
    """Run ``hyperfunc view``."""
    function, _ = _load_function(command.source, command.checkpoint, for_page=True)
    from hyperfunc.export import export_html

    folder = Path(tempfile.mkdtemp(prefix="hyperfunc-"))
    page = folder / f"{command.source.stem}.html"
    export_html(function, page, title=command.source.name)
    print(f"{page}")
    if not webbrowser.open(page.as_uri()):
        print("no browser was found: open this file in one")


def parse_size(text: str) -> tuple[int, int]:
    """Read a size such as "3840x2160" (width x height, pixels), as (height, width).

    Raises:
        UserError: it is not two whole numbers of at least 1.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        parts = ["0"]
    if not all(len(part) <= 10 and int(part) >= 1 for part in parts):
        raise UserError(
            f"--size {text!r} cannot be used: give width x height in pixels, such as 3840x2160"
        )
    return int(parts[1]), int(parts[0])


def _parse_request(command: Upscale) -> Any:
    from hyperfunc.pixels import parse_scale
    from hyperfunc.upscaling import Request

    if (command.scale is None) == (command.size is None):
        raise UserError("how large? give one of --scale 3 and --size 3840x2160 (width x height)")
    if command.size is not None:
        return Request(size=parse_size(command.size))
    return Request(scale=parse_scale(command.scale or ""))


def _conclude(batch: "Batch", say: Any, is_single: bool) -> None:
    """Say what became of the files, and leave with the exit code."""
    for outcome in batch.outcomes:
        for note in outcome.notes:
            say(f"{outcome.input}: {note}")
    if is_single:
        outcome = batch.outcomes[0]
        if outcome.error:
            raise UserError(outcome.error)
        if outcome.status == "skipped":
            say(f"{outcome.output}: exists, skipped; --overwrite makes it anew")
        else:
            say(f"{outcome.output}: done in {outcome.seconds:.1f} s")
        return
    failed = batch.count("failed")
    say(f"{batch.count('done')} done, {batch.count('skipped')} skipped, {failed} failed")
    for outcome in batch.outcomes:
        if outcome.error:
            print(f"error: {outcome.error}", file=sys.stderr)
    if failed:
        raise SystemExit(1)


def _load_super_resolution(checkpoint: str) -> "Model":
    from hyperfunc.data import SuperResolution
    from hyperfunc.experiment import load_model

    model = load_model(checkpoint)
    if not isinstance(model.experiment.task, SuperResolution):
        raise UserError(
            f"{model.path} was trained for {type(model.experiment.task).__name__}, not for "
            "super-resolution: give the --checkpoint of a super-resolution preset"
        )
    return model


def _load_function(
    source: Path, checkpoint: str, *, for_page: bool
) -> tuple["FunctionalImage", dict[str, str]]:
    """The function of an image or in a file, and notes to keep with it.

    What a page cannot show is refused before it is made.
    """
    from hyperfunc.devices import use_cpu_cores

    use_cpu_cores()
    if source.suffix.lower() == ".hfn":
        from hyperfunc.export import load_function, load_header

        return load_function(source), load_header(source).get("about", {})
    from hyperfunc.api import represent
    from hyperfunc.experiment import load_model
    from hyperfunc.images import read_as_shown, read_header

    model = load_model(checkpoint)
    if for_page:
        from hyperfunc.export import check_page

        network = model.hypernetwork
        check_page(network.target, network.layout, read_header(source).size)
    photo = read_as_shown(source)
    for note in photo.notes:
        print(f"{source}: {note}")
    about = {"image": source.name, "model": model.path.name, "step": str(model.step)}
    return represent(photo.pixels, checkpoint=model).function, about


def _describe_checkpoint(path: Path) -> None:
    import jax

    from hyperfunc.experiment import load_model, to_dict

    if not path.exists() and (len(path.parts) > 1 or path.suffix):
        raise UserError(f"{path}: no such file or folder; check the path")
    model = load_model(str(path))  # A bundled name, or a workdir.
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model.variables))
    print(f"{model.path}: checkpoint of step {model.step}, {parameters:,} parameters")
    for name, component in to_dict(model.experiment).items():
        print(f"{name}: {component}")


def _escape_unprintable_names() -> None:
    """Let what the terminal's encoding does not hold (a file's name may be any bytes) be seen."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _pillow_settings() -> Any:
    """Sizes are limited by `hyperfunc.upscaling`; what Pillow merely warns of is not shown."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


if __name__ == "__main__":
    main()
