"""Arguments that every command has, and how a command's arguments are parsed."""

import dataclasses
from typing import TypeVar

import tyro

Positional = tyro.conf.Positional
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Messages:
    """What a command prints besides its results.

    Attributes:
        quiet: print results, warnings and errors only.
        debug: show the traceback of every error; HYPERFUNC_DEBUG=1 does the same.
    """

    quiet: bool = False
    debug: bool = False


def parse_arguments(kind: type[T], words: list[str], *, prog: str | None = None) -> T:
    """Parse the words of a command line.

    Args:
        kind: the dataclass of the arguments.
        words: the command line without the name of the command.
        prog: the name of the command for its help; that of the running script if not given.

    Raises:
        SystemExit: the words cannot be parsed (exit code 2), or ask for help (0).
    """
    return tyro.cli(
        kind,
        args=words,
        prog=prog,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
    )
