"""Files that are whole or not there: write beside, then rename."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from hyperfunc.errors import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path beside ``path`` to write to, and put what was written in its place at the end.

    Missing folders are made. If the end is not reached, the path beside is removed and ``path``
    stays as it was.

    Raises:
        UserError: the place cannot be written to.
    """
    path = Path(path)
    # Shorter than the longest name there can be, and this name's own.
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]
    beside = path.with_name(f".{path.name[:40]}.{digest}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        os.replace(beside, path)
    # Encoders raise ValueError for what a format cannot hold.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(f"{path}: cannot be written ({reason})") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
