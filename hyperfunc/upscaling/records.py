"""What made the outputs of a folder: a line of JSON for each, in a hidden file beside them.

An output is kept only if its record says that the same request made it of the same input. The line
is appended before the output takes its place: at no moment can a process be killed and leave an
output without a record.
"""

import json
from pathlib import Path
from typing import Any, Literal

from hyperfunc.errors import UserError

NAME = ".hyperfunc.jsonl"
"""Of the file with the records of its folder."""

Origin = dict[str, Any]
"""The input, the request and the model that an output is made of, as JSON."""


def identify_file(path: Path) -> list[int]:
    """Return the number of bytes of a file, and when it was last modified, in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def append_record(beside: Path, output: Path, origin: Origin) -> None:
    """Record the origin of an output, which is complete and still has the name ``beside``."""
    line = json.dumps({"output": output.name, "file": identify_file(beside), "origin": origin})
    # A line that a full disk cuts off spoils no other: each begins with the end of the last one.
    with (output.parent / NAME).open("ab") as file:
        file.write(f"\n{line}".encode())


class Records:
    """The records of folders, each of which is read once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, Origin]] = {}

    def compare(self, output: Path, origin: Origin) -> Literal["missing", "same", "other"]:
        """Tell whether an output is there, and has this origin or another one.

        Raises:
            UserError: it has no record, or was changed since.
        """
        try:
            identity = identify_file(output)
        except (FileNotFoundError, NotADirectoryError):  # The latter: above it is a file.
            return "missing"
        if output.parent not in self._folders:
            self._folders[output.parent] = _read(output.parent / NAME)
        found = self._folders[output.parent].get(json.dumps([output.name, identity]))
        if found is None:
            raise UserError(
                f"{output}: exists, and hyperfunc did not make it or it was changed since; "
                "--overwrite replaces it"
            )
        return "same" if found == origin else "other"


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
