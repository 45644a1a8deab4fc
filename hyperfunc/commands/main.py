"""The command ``hyperfunc``: run the command that the first word names.

hyperfunc upscale photo.jpg large.png --scale 3
hyperfunc upscale photos/ large/ --size 3840x2160 --report report.json
hyperfunc restore old.jpg clean.png
hyperfunc info photo.jpg
hyperfunc export photo.jpg --function photo.hfn --html photo.html
hyperfunc export --onnx graphs
hyperfunc view photo.jpg
hyperfunc studio out/
hyperfunc cache --clear
hyperfunc train --workdir=runs/sr
hyperfunc evaluate --dataset=set5 --scale=3
hyperfunc reproduce --data_dir=DATA --out=reproduction
"""

import argparse
import atexit
import functools
import gc
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hyperfunc import __version__
from hyperfunc.commands.arguments import parse_arguments
from hyperfunc.commands.running import run_command

COMMANDS = {
    "upscale": "Enlarge an image, several images, or all images of a folder.",
    "restore": "Remove noise, blur and the artefacts of JPEG, or fill missing pixels.",
    "info": "Describe a file: an image, a checkpoint, or a function (.hfn).",
    "export": "Write an image as a function (a file or a page), or a model as ONNX graphs.",
    "view": "Show an image as a function in a browser, and zoom into it.",
    "studio": "Write a page in which any photograph becomes a function, in the browser.",
    "cache": "Say where compiled programs are kept, or remove them.",
    "train": "Train a model, or continue a training run.",
    "evaluate": "Measure how well models enlarge, restore or reconstruct images.",
    "reproduce": "Make the paper's tables and figures, with its numbers beside ours.",
}
"""Each is a module here, with ``Arguments`` and ``run``, which raises `UserError` for what the user
can fix. Only the one that is needed is imported. ``train`` has a ``parse`` of its own, because a
preset sets its defaults."""


def main(args: list[str] | None = None) -> None:
    """Run the command with the given arguments, or those of the process."""
    words = sys.argv[1:] if args is None else args
    if args is None:
        _look_for_garbage_less_often()
    name = _parse_name(words)
    command, parse = import_command(name)
    parse = functools.partial(parse, prog=f"hyperfunc {name}")
    run_command(parse, command.run, words[1:], owns_process=args is None)


def import_command(name: str) -> tuple[ModuleType, Callable[..., Any]]:
    """Import the module of a command, and return what parses its words, too."""
    command = importlib.import_module(f"hyperfunc.commands.{name}")
    parse = functools.partial(parse_arguments, command.Arguments)
    return command, getattr(command, "parse", parse)


def _look_for_garbage_less_often() -> None:
    """Spend less time on the objects of libraries, of which hardly any is garbage.

    With Python's defaults, a third of what a small image takes beyond JAX's own start goes there:
    while the libraries are imported, and once more when the process ends.
    """
    gc.set_threshold(200_000, 10, 10)
    atexit.register(gc.freeze)


def _parse_name(words: list[str]) -> str:
    """Parse the first word; the rest is for the command that it names."""
    parser = argparse.ArgumentParser(
        prog="hyperfunc",
        description="Images as continuous functions: enlarge them by any factor.",
        epilog="hyperfunc COMMAND --help describes a command.",
    )
    parser.add_argument("--version", action="version", version=f"hyperfunc {__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary)
    return parser.parse_args(words[:1]).name
