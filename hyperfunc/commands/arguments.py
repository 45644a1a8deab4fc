"""Arguments that every command has, and how a command's arguments are parsed."""

import dataclasses
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from hyperfunc.errors import UserError
from hyperfunc.files import as_path

Positional = tyro.conf.Positional
# The empty hints keep "(default: None)" and "(default: False)" out of the help.
Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
T = TypeVar("T")

MAY_BE_LEFT_OUT = ("--ray",)
"""Flags with a text that may be left out."""

MAY_BE_EMPTY = re.compile("--(ray|title|wrap|run[.]start[-_]from)")
"""Flags whose empty text means none."""

FLAX_FIELDS = ("parent", "name")
"""Fields of components that are no options."""


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


CommonFlags = Annotated[Common, tyro.conf.arg(name="")]
"""The type of the field that holds them; their names get no prefix."""


def parse_arguments(kind: type[T], words: list[str], *, prog: str | None = None) -> T:
    """Parse the words of a command line, without the name of the command, which ``prog`` is.

    Raises:
        ValueError: one of them is empty: an empty path would be the current folder; or an option is
            unknown, and others end with the same word.
    """
    if any(_is_empty(*pair) for pair in itertools.pairwise(["", *words])):
        raise ValueError(f"one of the arguments is empty: {shlex.join(words)}; say what is meant")
    _check_prefixes(words, {name.replace("_", "-") for name in _list_options(kind)})
    arguments = tyro.cli(
        kind,
        args=[f"{word}=" if word in MAY_BE_LEFT_OUT else word for word in words],
        prog=prog,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
    )
    return _with_addresses(arguments)


def _is_empty(before: str, word: str) -> bool:
    """Whether a word says nothing, usually because a variable of the shell is not set."""
    flag, equals, text = word.partition("=") if word else (before, "=", "")
    is_flag = not word or flag.startswith("--")
    return bool(is_flag and equals and not text and not MAY_BE_EMPTY.fullmatch(flag))


def _check_prefixes(words: list[str], options: set[str]) -> None:
    """Name the options that are meant where a prefix such as "run." is wrong or left out."""
    before_paths = itertools.takewhile(lambda word: word != "--", words)
    for flag in (word.partition("=")[0] for word in before_paths if word.startswith("--")):
        name = flag[2:].replace("_", "-")
        ending = name.rpartition(".")[2]
        alike = [f"--{x}" for x in sorted(options) if x.rpartition(".")[2] == ending]
        if alike and name not in options:
            raise ValueError(f"{flag}: there is no such option; use {' or '.join(alike)}")


def _list_options(kind: Any, prefix: str = "", *, is_top: bool = True) -> Iterator[str]:
    """List the names of options, of which those of components have a prefix."""
    for field in dataclasses.fields(kind):
        if Positional in getattr(field.type, "__metadata__", ()):
            continue
        if isinstance(kind, type):
            make: Any = field.default_factory
            value = field.default if make is dataclasses.MISSING else make()
        else:
            value = getattr(kind, field.name, None)
        if dataclasses.is_dataclass(value):
            below = "" if is_top else f"{prefix}{field.name}."
            yield from _list_options(value, below, is_top=False)
        elif field.name not in FLAX_FIELDS:
            yield prefix + field.name


def _with_addresses(arguments: Any) -> Any:
    """Recognise addresses among the arguments, and the components in them, before any work."""
    paths = {}
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name)
        if dataclasses.is_dataclass(value):
            _with_addresses(value)  # It holds addresses as texts.
        elif isinstance(value, str | Path) and field.name != "title":
            path = as_path(value)
            paths |= {field.name: path} if isinstance(value, Path) else {}
    return dataclasses.replace(arguments, **paths)


def check_apart(flag: str, folder: Path | None, dataset: str) -> None:
    """Refuse to write among the images: they would be read with them the next time.

    Raises:
        UserError: the folder that the flag names lies in that of the dataset.
    """
    images = Path(dataset).expanduser().resolve()
    if folder is not None and images.is_dir() and folder.resolve().is_relative_to(images):
        raise UserError(
            f"{flag} {folder} lies in the folder of the images, {images}, and would be read with "
            "them the next time: give another folder"
        )


def parse_size(text: str) -> tuple[int, int]:
    """Read a size such as "3840x2160" (width x height, pixels), as (height, width)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        parts = ["0"]
    if not all(len(part) <= 10 and int(part) >= 1 for part in parts):
        raise UserError(
            f"--size {text!r} cannot be used: give width x height in pixels, such as 3840x2160"
        )
    return int(parts[1]), int(parts[0])
