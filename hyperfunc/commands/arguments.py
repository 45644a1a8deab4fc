"""Arguments that every command has, and how a command's arguments are parsed."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from hyperfunc.files import check_local

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
        UserError: a path is an address.
        SystemExit: the words cannot be parsed (exit code 2), or ask for help (0).
    """
    arguments = tyro.cli(
        kind,
        args=words,
        prog=prog,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
    )
    _check_paths(arguments)
    return arguments


def _check_paths(arguments: Any) -> None:
    """Refuse addresses among the arguments, and the components in them, before any work."""
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        if dataclasses.is_dataclass(value):
            _check_paths(value)
        elif isinstance(value, str | Path) and field.name != "title":
            check_local(value)
