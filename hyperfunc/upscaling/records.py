"""What made the outputs of a folder: a line of JSON for each, in a hidden file beside them.

An output is kept only if its record says that the same request made it of the same input. The line
is appended before the output takes its place: at no moment can a process be killed and leave an
output without a record.

Nothing can be appended to a file of an object store. There, each record is an empty file in the
hidden folder ``.hyperfunc``, and its name says all: the output, its number of bytes, and a digest
of its origin. To list them takes a thousandth of the requests that it would take to read them.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.files import Address, read_folder

NAME = ".hyperfunc.jsonl"
"""Of the file with the records of its folder."""

FOLDER = ".hyperfunc"
"""Of the records of a folder in an object store."""

Origin = dict[str, Any]
"""The input, the request and the model that an output is made of, as JSON."""


def identify_file(path: Path) -> list[int]:
    """Return the number of bytes of a file, and when it was last modified, in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def append_record(beside: Path, output: Path, origin: Origin) -> None:
    """Record the origin of an output, which is complete and still has the name ``beside``.

    A pipe or a device has no other name, and keeps nothing.
    """
    if beside == output:
        return
    if isinstance(output, Address):
        name = f"{output.name}.{beside.stat().st_size}.{_digest(origin)}"
        (output.parent / FOLDER / name).write_bytes(b"")
        return
    line = json.dumps({"output": output.name, "file": identify_file(beside), "origin": origin})
    # A line that a full disk cuts off spoils no other: each begins with the end of the last one.
    with (output.parent / NAME).open("ab") as file:
        file.write(f"\n{line}".encode())


class Records:
    """The records of folders, of which one at a time is kept, as hashes."""

    def __init__(self) -> None:
        """Start without a folder."""
        self._folder: Path | None = None
        self._sizes: dict[str, Any] = {}
        self._outputs = self._all = np.empty(0, np.int64)

    def compare(self, output: Path, origin: Origin) -> Literal["missing", "same", "other"]:
        """Tell whether an output is there, and has this origin or another one.

        Raises:
            UserError: it has no record, or was changed since.
        """
        is_new, self._folder = output.parent != self._folder, output.parent
        if isinstance(output, Address):
            if is_new:
                self._sizes = read_folder(output.parent)
            identity = self._sizes.get(output.name)
        else:
            try:
                is_kept = output.is_file() or output.is_dir()  # Unlike what goes into a pipe.
                identity = identify_file(output) if is_kept else None
            except (FileNotFoundError, NotADirectoryError):  # The latter: above it is a file.
                identity = None
        if is_new:
            is_store = isinstance(output, Address)
            found = (_read_store if is_store else _read)(output.parent)
            pairs = np.fromiter(found, np.dtype((np.int64, 2)))
            self._outputs, self._all = np.unique(pairs[:, 0]), np.unique(pairs[:, 1])
        if identity is None:
            return "missing"
        key = _make_key(output.name, identity)
        if _is_in(hash(key), self._outputs):
            return "same" if _is_in(hash((key, _digest(origin))), self._all) else "other"
        raise UserError(
            f"{output}: exists, and hyperfunc did not make it or it was changed since; --overwrite "
            "replaces it"
        )


def _is_in(value: int, values: np.ndarray) -> bool:
    place = np.searchsorted(values, value)
    return bool((values[place : place + 1] == value).any())


def _make_key(name: str, identity: Any) -> str:
    return json.dumps([name, identity])


def _digest(origin: Origin) -> str:
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:16]


def _read_store(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield the hashes of the records of a folder: of the output alone, and with its origin."""
    for record in read_folder(folder / FOLDER):
        try:
            name, size, digest = record.rsplit(".", 2)
            key = _make_key(name, int(size))
        except ValueError:  # Somebody else's file.
            continue
        yield hash(key), hash((key, digest))


def _read(folder: Path) -> Iterator[tuple[int, int]]:
    path = folder / NAME
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                record = json.loads(line)
                key = _make_key(record["output"], record["file"])
                yield hash(key), hash((key, _digest(record["origin"])))
            except (ValueError, TypeError, KeyError):  # An empty or incomplete line.
                continue
