"""``hyperfunc export``: write an image as a function, or a model as ONNX graphs."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from hyperfunc.commands.arguments import (
    Common,
    CommonFlags,
    OptionalPath,
    OptionalText,
    Positional,
)
from hyperfunc.commands.functions import open_functions
from hyperfunc.errors import UserError
from hyperfunc.files import check_place

if TYPE_CHECKING:
    from hyperfunc.experiment import Model


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write an image as a function (a file or a page), or a model as ONNX graphs.

    Attributes:
        source: an image, or a function (.hfn). Transparent images are laid on white. --onnx alone
            needs none.
        function: write the function to this file (.hfn).
        html: write a page that shows the function in a browser, without a server. A larger picture
            than a page can show is reduced for it.
        onnx: write the model to this folder as ONNX graphs: an encoder, and a decoder for each of
            the scales.
        scales: of the ONNX decoders.
        precision: the type in which the ONNX graphs compute; that of inputs and outputs is float32.
        checkpoint: the workdir of a training run, or the name of a bundled checkpoint.
        quantize: the type in which the function's parameters are stored: int8, float16, or none for
            float32.
        title: the heading of the page; the name of the source if not given.
    """

    source: Positional[
        Annotated[Path | None, tyro.conf.arg(metavar="[IN]", help_behavior_hint="")]
    ] = None
    function: OptionalPath = None
    html: OptionalPath = None
    onnx: OptionalPath = None
    scales: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")] = (2, 3, 4)
    precision: Literal["float32", "float16"] = "float32"
    checkpoint: str = "sr"
    quantize: Literal["int8", "float16", "none"] = "int8"
    title: OptionalText = None
    common: CommonFlags = Common()


def run(arguments: Arguments) -> None:
    """Write the files that were asked for."""
    _check_targets(arguments)
    checkpoint: str | Model = arguments.checkpoint
    if arguments.onnx is not None:
        checkpoint = _export_onnx(arguments.onnx, arguments)
    if arguments.source is not None:
        _export_function(arguments.source, checkpoint, arguments)


def _export_function(source: Path, checkpoint: "str | Model", arguments: Arguments) -> None:
    whole, page, about = open_functions(
        source,
        checkpoint,
        for_file=arguments.function is not None,
        for_page=arguments.html is not None,
    )
    from hyperfunc.export import export_html, save_function

    if arguments.function is not None and whole is not None:
        quantize = None if arguments.quantize == "none" else arguments.quantize
        save_function(arguments.function, whole, quantize=quantize, about=about)
        size = arguments.function.stat().st_size
        pixels = math.prod(whole.size)
        print(f"{arguments.function}: {size:,} bytes, {size / pixels:.1f} per input pixel")
    if arguments.html is not None and page is not None:
        export_html(page, arguments.html, title=arguments.title or source.name)
        print(f"{arguments.html}: {arguments.html.stat().st_size:,} bytes")


def _export_onnx(folder: Path, arguments: Arguments) -> "Model":
    """Write the graphs, and return the model."""
    from hyperfunc.errors import check_extra

    check_extra("onnx", "--onnx")
    from hyperfunc.experiment import load_model
    from hyperfunc.export import export_onnx

    model = load_model(arguments.checkpoint)
    scales, precision = arguments.scales, arguments.precision
    for path, error in export_onnx(model, folder, scales=scales, precision=precision):
        size = path.stat().st_size
        print(f"{path}: {size:,} bytes, differs by up to {error:.1e} in a check with ONNX Runtime")
    return model


def _check_targets(arguments: Arguments) -> None:
    """Refuse outputs that cannot be written, or would replace the input or one another."""
    source = arguments.source
    targets = [path for path in (arguments.function, arguments.html) if path is not None]
    if not targets and arguments.onnx is None:
        raise UserError(
            "nothing to export: give --function out.hfn, --html out.html, or --onnx folder"
        )
    if bool(targets) != (source is not None):
        raise UserError(
            f"{source}: give --function out.hfn or --html out.html, too; --onnx reads no image"
            if source
            else f"{targets[0]}: of which image? give it before the flags"
        )
    for target in targets:
        if target.exists() and source and source.exists() and target.samefile(source):
            raise UserError(f"{target}: input and output are one file; name another output")
    if len({target.resolve() for target in targets}) < len(targets):
        raise UserError(f"{targets[0]}: two outputs are one file; name another one")
    for target in targets:
        check_place(target)
    if arguments.onnx is not None:
        check_place(arguments.onnx / "encoder.onnx")
