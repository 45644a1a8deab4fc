"""``hyperfunc studio``: write a page in which any photograph becomes a function."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from hyperfunc.commands.arguments import Common, CommonFlags, Positional
from hyperfunc.errors import check_extra
from hyperfunc.files import check_place


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write a page in which any photograph becomes a function, in the browser.

    It is a folder of static files for any web server, which computes nothing. To try it:
    python -m http.server --directory OUT

    Attributes:
        output: the folder.
        checkpoints: workdirs of training runs, or names of bundled checkpoints: the page offers a
            choice among them, and uses the first at first.
    """

    output: Positional[Annotated[Path, tyro.conf.arg(metavar="OUT")]]
    checkpoints: Annotated[tuple[str, ...], tyro.conf.arg(metavar="STR [STR ...]")] = (
        "sr",
        "sr_jpeg",
        "restore",
    )
    common: CommonFlags = Common()


def run(arguments: Arguments) -> None:
    """Write the folder."""
    check_extra("onnx", "the studio")
    check_place(arguments.output / "index.html")
    from hyperfunc.experiment import load_model
    from hyperfunc.export import export_studio

    models = [load_model(checkpoint) for checkpoint in arguments.checkpoints]
    size = export_studio(models, arguments.output)
    print(f"{arguments.output}: {size / 1e6:.1f} MB; to open it, run")
    print(f"  python -m http.server --directory {arguments.output}")
