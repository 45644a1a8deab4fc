"""Arguments that every command has, and how a command's arguments are parsed."""

import dataclasses
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

Positional = tyro.conf.Positional
# The empty hints keep "(default: None)" and "(default: False)" out of the help.
Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Common:
    """The flags that every command has.

    Attributes:
        quiet: print results, warnings and errors only.
        debug: show the traceback of every error; HYPERFUNC_DEBUG=1 does the same.
        no_cache: neither use compiled programs on disk nor keep them; HYPERFUNC_CACHE=0 does the
            same.
    """

    quiet: Flag = False
    debug: Flag = False
    no_cache: Flag = False


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
