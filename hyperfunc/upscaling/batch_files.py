"""Find the inputs of a batch, and choose a place for each output."""

import collections
import contextlib
import dataclasses
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.files import Address, as_path
from hyperfunc.images import FORMATS, SUFFIXES, check_output, walk_images
from hyperfunc.upscaling.records import Records

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Files:
    """The inputs and outputs of a run, and what is found beside them during the iteration."""

    pairs: Iterator[tuple[Path, Path]]
    unreadable: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    """Folders that cannot be searched, and why."""
    passed_over: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Files that are no images, counted by their suffixes."""

    @property
    def has_more(self) -> bool:
        """Whether something was found that was not taken out."""
        return bool(self.unreadable or self.passed_over)


def pair_files(
    sources: Sequence[Path], target: str | os.PathLike[str], suffix: str | None
) -> Files:
    """Find the inputs, and choose their outputs; see `hyperfunc.upscaling.plan_batches`.

    Raises:
        UserError: there is no input, or outputs cannot be written to the target.
    """
    sources, place = [as_path(source) for source in sources], as_path(target)
    for path in (*sources, target):
        if str(path) == "-" or (path == target and _is_stdout(place)):
            raise UserError(
                f"{path}: standard input and output cannot be used; give files or a folder"
            )
    for source in sources:
        if not source.exists():
            raise UserError(f"{source}: no such file or folder; check the path")
        if source.is_dir() and len(sources) > 1:
            raise UserError(f"{source}: is a folder; give one folder, or several files")
    if len(sources) == 1 and sources[0].is_dir():
        return _pair_folder(sources[0], place, suffix)
    if len(sources) == 1:
        return Files(iter([(sources[0], _choose_target(sources[0], target, suffix))]))
    _check_folder(place, "there are several inputs")
    names = _choose_names([source.name for source in sources], suffix)
    return Files((source, place / name) for source, name in zip(sources, names, strict=True))


def _is_stdout(target: Path) -> bool:
    """Whether this is where messages go, by any name: they would be mixed with the image."""
    if isinstance(target, Address):
        return False
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Or stdout is no file.
        return os.path.samestat(target.stat(), os.fstat(sys.stdout.fileno()))
    return False


def _choose_target(source: Path, target: str | os.PathLike[str], suffix: str | None) -> Path:
    """The output of a single file."""
    path = as_path(target)
    if path.is_dir() or str(target).endswith(("/", os.sep)):
        path = path / _rename(source.name, suffix)
    format_ = check_output(path, (1, 1))
    if suffix and FORMATS[suffix] != format_:
        raise UserError(
            f"{path}: would be written as {format_}: leave out --format={suffix[1:]}, or name "
            f"{path.with_suffix(suffix)}"
        )
    return path


def _check_folder(target: Path, reason: str) -> None:
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file, and {reason}; name a folder for the output")


def _pair_folder(source: Path, target: Path, suffix: str | None) -> Files:
    """Find the images of a folder, and their outputs, one folder at a time."""
    _check_folder(target, "the input a folder")
    outputs, files = target.resolve(), Files(iter(()))
    if outputs == source.resolve():
        raise UserError(f"{source}: input and output are one folder; name another output")
    is_inside = source.resolve() in outputs.parents

    def note(folder: Path, error: UserError) -> None:
        files.unreadable.append((folder, str(error)))

    def pair() -> Iterator[tuple[Path, Path]]:
        seen, passed_over = dict[str, Path](), collections.Counter[str]()
        count, left_out, records = 0, 0, Records()
        for folder, images, others in walk_images(source, note):
            inputs = source / folder
            if is_inside and outputs in (resolved := inputs.resolve(), *resolved.parents):
                # The outputs of an earlier run are no inputs.
                left_out += sum(not _is_known(inputs / name, records) for name in images)
                continue
            counts = collections.Counter(Path(x).suffix.lower() or x for x in others)
            files.passed_over += counts
            passed_over += counts
            count += len(images)
            if seen.setdefault(str(folder).lower(), folder) != folder:
                reason = f"{inputs}: only case tells it from another folder; rename one of them"
                files.unreadable.append((inputs, reason))
                continue
            place, names = target / folder, _Names(images)
            images.clear()
            for name, output in zip(names, _choose_names(names, suffix), strict=True):
                yield inputs / name, place / output
        if left_out:
            _tell_left_out(target, left_out, is_all=not count)
        elif not count:
            _refuse_empty(source, files.unreadable, passed_over)

    files.pairs = pair()
    return files


def _tell_left_out(target: Path, count: int, *, is_all: bool) -> None:
    """Warn of images in the folder of the outputs, or refuse if there are no other inputs."""
    reason = (
        f"{target}: is the folder of the outputs, and {count} images in it that hyperfunc did not "
        "make, or that were changed since, are passed over: to include them, name an output "
        "outside of the input"
    )
    if is_all:
        raise UserError(reason)
    logger.warning(reason)


def _is_known(path: Path, records: Records) -> bool:
    """Whether a file is gone or an output that has not been changed."""
    try:
        records.compare(path, {})
    except UserError:
        return False
    return True


class _Names:
    """Names of files in one string: as objects, a million of them take 80 MB."""

    def __init__(self, names: Iterable[str]) -> None:
        self._text = "\0".join(names)

    def __iter__(self) -> Iterator[str]:
        return (match[0] for match in re.finditer("[^\0]+", self._text))


def _refuse_empty(
    source: Path, unreadable: list[tuple[Path, str]], passed_over: collections.Counter[str]
) -> NoReturn:
    if unreadable:
        raise UserError(unreadable[0][1])
    found = f" but {describe_counts(passed_over)}" if passed_over else ""
    raise UserError(f"{source}: holds no images{found}; give a folder with {', '.join(SUFFIXES)}")


def describe_counts(counts: collections.Counter[str]) -> str:
    """List suffixes by how often they were found, such as "2 .mp4, 1 .txt"."""
    text = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(8))
    return text + ", ..." * (len(counts) > 8)


def _choose_names(names: Iterable[str], suffix: str | None) -> Iterator[str]:
    """Choose the outputs' names in a folder, all different, even where case is ignored.

    cat.bmp and cat.png become cat.bmp.png and cat.png.png. Only hashes of names are kept.
    """
    hashes = (hash(_rename(name, suffix).lower()) for name in names)
    values, counts = np.unique(np.fromiter(hashes, np.int64), return_counts=True)
    repeated, unique = set(values[counts > 1].tolist()), values[counts == 1]
    taken = set[str]()

    def is_taken(name: str) -> bool:
        place = np.searchsorted(unique, hash(name))
        return name in taken or bool((unique[place : place + 1] == hash(name)).any())

    for name in names:
        output = _rename(name, suffix)
        if hash(output.lower()) in repeated:
            ending = Path(output).suffix
            output = f"{name}{ending}"
            while is_taken(output.lower()):
                output += ending
            taken.add(output.lower())
        yield output


def _rename(name: str, suffix: str | None) -> str:
    place = name.rfind(".")
    stem, ending = (name[:place], name[place:]) if place > 0 else (name, "")
    return stem + (suffix or (ending if ending.lower() in FORMATS else ".png"))
