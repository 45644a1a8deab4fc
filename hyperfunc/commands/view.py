"""``hyperfunc view``: show an image as a function in a browser."""

import dataclasses
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import tyro

from hyperfunc.commands.arguments import Common, CommonFlags, Positional
from hyperfunc.commands.functions import open_functions


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Show an image as a function in a browser, and zoom into it.

    Attributes:
        source: an image, or a function (.hfn).
        checkpoint: the workdir of a training run, or the name of a bundled checkpoint.
    """

    source: Positional[Annotated[Path, tyro.conf.arg(metavar="IN")]]
    checkpoint: str = "sr"
    common: CommonFlags = Common()


def run(arguments: Arguments) -> None:
    """Write the page to a temporary folder, and open it."""
    opened = open_functions(arguments.source, arguments.checkpoint, for_file=False, for_page=True)
    from hyperfunc.export import export_html

    assert opened.page is not None

    folder = Path(tempfile.mkdtemp(prefix="hyperfunc-"))
    page = folder / f"{arguments.source.stem}.html"
    export_html(opened.page, page, title=arguments.source.name)
    print(page)
    if not webbrowser.open(page.as_uri()):
        print("no browser was found: open this file in one")
