"""Metrics as JSON lines and for TensorBoard, and pictures of samples."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import tensorboardX
from jaxtyping import UInt8
from numpy import ndarray

from hyperfunc.errors import UserError
from hyperfunc.files import replacing, to_json
from hyperfunc.images import write_image


class Writer(contextlib.AbstractContextManager):
    """Writes ``metrics.jsonl``, flushed at once, ``tensorboard/`` and ``samples/`` into a workdir.

    Only one process may write; the others pass ``active=False``.
    """

    def __init__(self, workdir: Path, *, start: int | None = None, active: bool = True) -> None:
        """Open the files, and remove lines after ``start``, which a resumed run writes again."""
        self._workdir = workdir
        self._lines = self._board = None
        if not active:
            return
        with self._writing():
            workdir.mkdir(parents=True, exist_ok=True)
            path = workdir / "metrics.jsonl"
            before = path.read_bytes() if path.exists() else b""
            kept = [x for x in before.splitlines() if start is None or not _is_later(x, start)]
            # A full disk may have cut off the last line.
            after = b"".join(line + b"\n" for line in kept)
            if after != before:
                with replacing(path) as beside:
                    beside.write_bytes(after)
            self._lines = path.open("a", buffering=1)
            purge = None if start is None else start + 1
            self._board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=purge)

    def write(self, step: int, **metrics: float) -> None:
        """Write the metrics of a step; a "/" in a name groups metrics in TensorBoard."""
        if self._lines is None or self._board is None:
            return
        with self._writing():
            self._lines.write(to_json({"step": step, **metrics}) + "\n")
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)

    def write_picture(self, step: int, name: str, picture: UInt8[ndarray, "h w 3"]) -> None:
        """Write a picture as ``samples/<name>-<step>.png``."""
        if self._board is not None:
            write_image(self._workdir / "samples" / f"{name}-{step:07d}.png", picture)
            with self._writing():
                self._board.add_image(name, picture, step, dataformats="HWC")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._workdir}: cannot be written ({error.strerror or error}): free some space "
                "on the disk, or give another --workdir, and run again"
            ) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lines is None or self._board is None:
            return
        # After another error, a failure to close says nothing new.
        with contextlib.suppress(UserError) if error else contextlib.nullcontext():
            for file in (self._lines, self._board):
                with self._writing():
                    file.close()


def _is_later(line: bytes, start: int) -> bool:
    """Return whether a line holds the metrics of a step after ``start``."""
    try:
        return json.loads(line)["step"] > start
    except (ValueError, LookupError, TypeError):  # The line is cut off, or something else.
        return False
