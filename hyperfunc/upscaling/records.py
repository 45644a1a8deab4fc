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
from pathlib import Path
from typing import Any, Literal

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
    """Record the origin of an output, which is complete and still has the name ``beside``."""
    if isinstance(output, Address):
        name = _name_record(output, beside.stat().st_size, origin)
        (output.parent / FOLDER / name).write_bytes(b"")
        return
    line = json.dumps({"output": output.name, "file": identify_file(beside), "origin": origin})
    # A line that a full disk cuts off spoils no other: each begins with the end of the last one.
    with (output.parent / NAME).open("ab") as file:
        file.write(f"\n{line}".encode())


class Records:
    """The records of folders, each of which is read once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, Origin]] = {}
        self._listed: dict[Path, tuple[dict[str, Any], set[str]]] = {}

    def compare(self, output: Path, origin: Origin) -> Literal["missing", "same", "other"]:
        """Tell whether an output is there, and has this origin or another one.

        Raises:
            UserError: it has no record, or was changed since.
        """
        if isinstance(output, Address):
            return self._compare_in_store(output, origin)
        try:
            identity = identify_file(output)
        except (FileNotFoundError, NotADirectoryError):  # The latter: above it is a file.
            return "missing"
        if output.parent not in self._folders:
            self._folders[output.parent] = _read(output.parent / NAME)
        found = self._folders[output.parent].get(json.dumps([output.name, identity]))
        if found is None:
            raise _refuse(output)
        return "same" if found == origin else "other"

    def _compare_in_store(
        self, output: Address, origin: Origin
    ) -> Literal["missing", "same", "other"]:
        if output.parent not in self._listed:
            folder = output.parent
            self._listed = {folder: (read_folder(folder), set(read_folder(folder / FOLDER)))}
        sizes, records = self._listed[output.parent]
        size = sizes.get(output.name)
        if size is None:
            return "missing"
        if _name_record(output, size, origin) in records:
            return "same"
        if any(name.startswith(f"{output.name}.{size}.") for name in records):
            return "other"
        raise _refuse(output)


def _name_record(output: Path, size: int, origin: Origin) -> str:
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:16]
    return f"{output.name}.{size}.{digest}"


def _refuse(output: Path) -> UserError:
    return UserError(
        f"{output}: exists, and hyperfunc did not make it or it was changed since; --overwrite "
        "replaces it"
    )


def _read(path: Path) -> dict[str, Origin]:
    """Read the records of a folder, by the output's name and identity; the last one counts."""
    records: dict[str, Origin] = {}
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in lines:
        try:
            record = json.loads(line)
            records[json.dumps([record["output"], record["file"]])] = record["origin"]
        except (ValueError, TypeError, KeyError):  # An empty or incomplete line.
            continue
    return records
