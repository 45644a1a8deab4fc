"""Find the inputs of a batch, and choose a place for each output."""

import collections
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hyperfunc.errors import UserError
from hyperfunc.files import as_path
from hyperfunc.images import FORMATS, SUFFIXES, check_output, find_images


class Files(NamedTuple):
    """The files of a batch."""

    pairs: list[tuple[Path, Path]]
    """Inputs and outputs."""
    unreadable: dict[Path, str]
    """Folders that cannot be searched, and why."""
    passed_over: collections.Counter[str]
    """Files of a folder that are no images, counted by their suffixes."""


def pair_files(
    sources: Sequence[Path], target: str | os.PathLike[str], suffix: str | None
) -> Files:
    """Find the inputs, and choose their outputs; see `hyperfunc.upscaling.plan_batch`.

    Raises:
        UserError: there is no input, or outputs cannot be written to the target.
    """
    sources, place = [as_path(source) for source in sources], as_path(target)
    for path in (*sources, target):
        if str(path) == "-":
            raise UserError("-: standard input and output cannot be used; give files or a folder")
    for source in sources:
        if not source.exists():
            raise UserError(f"{source}: no such file or folder; check the path")
        if source.is_dir() and len(sources) > 1:
            raise UserError(f"{source}: is a folder; give one folder, or several files")
    if len(sources) == 1 and sources[0].is_dir():
        return _pair_folder(sources[0], place, suffix)
    if len(sources) == 1:
        pairs = [(sources[0], _choose_target(sources[0], target, suffix))]
    else:
        _check_folder(place, "there are several inputs")
        names = _choose_names([Path(source.name) for source in sources], suffix)
        pairs = [(source, place / name) for source, name in zip(sources, names, strict=True)]
    return Files(pairs, {}, collections.Counter())


def _choose_target(source: Path, target: str | os.PathLike[str], suffix: str | None) -> Path:
    """The output of a single file."""
    path = as_path(target)
    if path.is_dir() or str(target).endswith(("/", os.sep)):
        path = path / _rename(source, suffix).name
    check_output(path, (1, 1))
    return path


def _check_folder(target: Path, reason: str) -> None:
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file, and {reason}; name a folder for the output")


def _pair_folder(source: Path, target: Path, suffix: str | None) -> Files:
    """Find the images of a folder, and their outputs."""
    unreadable: dict[Path, str] = {}
    others: list[str] = []

    def note(folder: Path, error: UserError) -> None:
        unreadable[folder] = str(error)

    _check_folder(target, "the input a folder")
    if target.resolve() == source.resolve():
        raise UserError(f"{source}: input and output are one folder; name another output")
    members = [Path(file.member) for file in find_images(source, note=note, others=others)]
    outputs = target.resolve()
    if source.resolve() in outputs.parents:  # The outputs of an earlier run are no inputs.
        members = [x for x in members if outputs not in (source / x).resolve().parents]
    passed_over = collections.Counter(Path(x).suffix.lower() or Path(x).name for x in others)
    if not members:
        if unreadable:
            raise UserError(next(iter(unreadable.values())))
        found = f" but {describe_counts(passed_over)}" if passed_over else ""
        raise UserError(
            f"{source}: holds no images{found}; give a folder with {', '.join(SUFFIXES)}"
        )
    names = _choose_names(members, suffix)
    pairs = [(source / x, target / name) for x, name in zip(members, names, strict=True)]
    return Files(pairs, unreadable, passed_over)


def describe_counts(counts: collections.Counter[str]) -> str:
    """List suffixes by how often they were found, such as "2 .mp4, 1 .txt"."""
    text = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(8))
    return text + ", ..." * (len(counts) > 8)


def _choose_names(members: list[Path], suffix: str | None) -> list[Path]:
    """Choose the outputs' names, no two of which are equal, even where case is ignored.

    Files whose names would be equal keep their suffix: cat.bmp and cat.png become cat.bmp.png and
    cat.png.png.
    """
    names = [_rename(member, suffix) for member in members]
    counts = collections.Counter(str(name).lower() for name in names)
    taken = {name for name, count in counts.items() if count == 1}
    for i, (member, name) in enumerate(zip(members, names, strict=True)):
        if counts[str(name).lower()] == 1:
            continue
        longer = Path(f"{member}{name.suffix}")
        while str(longer).lower() in taken:
            longer = Path(f"{longer}{name.suffix}")
        taken.add(str(longer).lower())
        names[i] = longer
    return names


def _rename(path: Path, suffix: str | None) -> Path:
    return path.with_suffix(suffix or (path.suffix if path.suffix.lower() in FORMATS else ".png"))
