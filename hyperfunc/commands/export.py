"""``hyperfunc export``: write an image as a function, to a file or as a page."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hyperfunc.commands.arguments import (
    Common,
    OptionalPath,
    OptionalText,
    Positional,
    parse_arguments,
)
from hyperfunc.commands.functions import open_function
from hyperfunc.errors import UserError
from hyperfunc.files import check_place


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Turn an image into a function, and write it as a file or as a page.

    Attributes:
        source: an image, or a function (.hfn). Transparent images are laid on white.
        function: write the function to this file (.hfn).
        html: write a page that shows the function in a browser, without a server.
        checkpoint: the workdir of a training run, or the name of a bundled checkpoint.
        quantize: the type in which the function's parameters are stored: int8, float16, or none for
            float32.
        title: the heading of the page; the name of the source if not given.
    """

    source: Positional[Annotated[Path, tyro.conf.arg(metavar="IN")]]
    function: OptionalPath = None
    html: OptionalPath = None
    checkpoint: str = "sr"
    quantize: Literal["int8", "float16", "none"] = "int8"
    title: OptionalText = None
    common: Annotated[Common, tyro.conf.arg(name="")] = Common()


def parse(words: list[str], *, prog: str | None = None) -> Arguments:
    """Parse the words of the command line."""
    return parse_arguments(Arguments, words, prog=prog)


def run(arguments: Arguments) -> None:
    """Write the function to the files that were asked for.

    Raises:
        UserError: no file was asked for, or a file cannot be read or written.
    """
    _check_targets(arguments)
    source = arguments.source
    function, about = open_function(
        source, arguments.checkpoint, for_page=arguments.html is not None
    )
    from hyperfunc.export import export_html, save_function

    if arguments.function is not None:
        quantize = None if arguments.quantize == "none" else arguments.quantize
        save_function(arguments.function, function, quantize=quantize, about=about)
        size = arguments.function.stat().st_size
        pixels = math.prod(function.size)
        print(f"{arguments.function}: {size:,} bytes, {size / pixels:.1f} per input pixel")
    if arguments.html is not None:
        export_html(function, arguments.html, title=arguments.title or source.name)
        print(f"{arguments.html}: {arguments.html.stat().st_size:,} bytes")


def _check_targets(arguments: Arguments) -> None:
    """Refuse outputs that cannot be written, or would replace the input or one another."""
    source = arguments.source
    targets = [path for path in (arguments.function, arguments.html) if path is not None]
    if not targets:
        raise UserError("nothing to export: give --function out.hfn, --html out.html, or both")
    for target in targets:
        if target.exists() and source.exists() and target.samefile(source):
            raise UserError(f"{target}: input and output are one file; name another output")
    if len({target.resolve() for target in targets}) < len(targets):
        raise UserError(f"{targets[0]}: two outputs are one file; name another one")
    for target in targets:
        check_place(target)
