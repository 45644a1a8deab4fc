"""``hyperfunc studio``: write a page in which any photograph becomes a function."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from hyperfunc.commands.arguments import Common, Positional
from hyperfunc.errors import check_extra
from hyperfunc.files import check_place


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write a page in which any photograph becomes a function, in the browser.

    It is a folder of static files for any web server, which computes nothing. To try it:
    python -m http.server --directory OUT

    Attributes:
        output: the folder.
        checkpoint: the workdir of a training run, or the name of a bundled checkpoint.
    """

    output: Positional[Annotated[Path, tyro.conf.arg(metavar="OUT")]]
    checkpoint: str = "sr"
    common: Annotated[Common, tyro.conf.arg(name="")] = Common()


def run(arguments: Arguments) -> None:
    """Write the folder.

    Raises:
        UserError: ONNX or npm is missing, the model cannot be exported, or the folder cannot be
            written.
    """
    check_extra("onnx", "the studio")
    check_place(arguments.output / "index.html")
    from hyperfunc.experiment import load_model
    from hyperfunc.export import export_studio

    size = export_studio(load_model(arguments.checkpoint), arguments.output)
    print(f"{arguments.output}: {size / 1e6:.1f} MB; to open it, run")
    print(f"  python -m http.server --directory {arguments.output}")
