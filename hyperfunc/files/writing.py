"""Atomic writes: a file is written under a temporary name and then renamed.

What goes to an object store is written to a local file first, and then uploaded: the store replaces
an object as a whole.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hyperfunc.errors import UserError
from hyperfunc.files.addresses import Address, as_path

LEFTOVER = re.compile(r"\..*\.[0-9a-f]{8}\.([0-9a-f]{4})\.([0-9]+)\.tmp", re.DOTALL)
"""The name of a temporary file; the groups are its machine and its process."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to ``path`` when the context ends.

    The temporary file is in the folder of ``path``; missing folders are created. After an exception
    it is removed, and ``path`` is unchanged. If ``path`` is a symbolic link, the file that it
    points to is replaced. A pipe or a device (``/dev/stdout``) is written to directly. For an
    `Address` the temporary file is a local one, which is then uploaded.

    Raises:
        UserError: the place cannot be written to.
    """
    path = as_path(path)
    if isinstance(path, Address):
        with _reporting(path), tempfile.TemporaryDirectory(prefix="hyperfunc-") as folder:
            beside = Path(folder) / path.name
            yield beside
            path.upload(beside)
        return
    if path.exists() and not path.is_file() and not path.is_dir():
        with _reporting(path):
            yield path
        return
    place = Path(os.path.realpath(path))
    # Short enough for every file system, and different for every target.
    digest = hashlib.sha256(os.fsencode(place.name)).hexdigest()[:8]
    beside = place.with_name(f".{place.name[:40]}.{digest}.{_machine()}.{os.getpid()}.tmp")
    try:
        with _reporting(path):
            if place.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            place.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            os.replace(beside, place)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of `replacing` whose process was killed on this machine."""
    if isinstance(folder, Address):  # Its temporary files are local, and go with their process.
        return
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            match = LEFTOVER.fullmatch(path.name)
            if match and match[1] == _machine() and not _is_running(int(match[2])):
                path.unlink(missing_ok=True)


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # Sends nothing.
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def check_place(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, before its content is computed.

    Raises:
        UserError: the place cannot be written to.
    """

    class CheckPassed(Exception):
        pass

    path = as_path(path)
    if isinstance(path, Address):  # Only a write tells.
        trial = path.with_name(f".{path.name[:40]}.hyperfunc-check")
        with _reporting(path):
            trial.write_bytes(b"")
            trial.unlink(missing_ok=True)
        return

    with contextlib.suppress(CheckPassed), replacing(path) as beside:
        if beside != path:
            beside.touch()
        raise CheckPassed


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Format as JSON, with null for infinity and not-a-number, which JSON lacks."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: finite(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [finite(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(value), indent=indent, allow_nan=False)


def save_json(path: Path, value: Any) -> None:
    """Write JSON atomically (`replacing`), with null for infinity and not-a-number.

    Raises:
        UserError: the place cannot be written to.
    """
    with replacing(path) as beside:
        beside.write_text(to_json(value, indent=1) + "\n")


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    # Encoders raise ValueError for what a format cannot hold.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        remedy = "make room or " * is_full(error) + "choose another place"
        raise UserError(f"{path}: cannot be written ({reason}); {remedy}") from error


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that a disk is full, or that a user may not use more of it."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
