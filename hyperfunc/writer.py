"""Metrics out: JSON lines for programs, TensorBoard for people, and sample pictures."""

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Any

import tensorboardX
from jaxtyping import UInt8
from numpy import ndarray

from hyperfunc.atomic import replacing
from hyperfunc.images import write_image


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Format as JSON, with null for the numbers that JSON lacks (infinity and not-a-number)."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: finite(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [finite(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(value), indent=indent, allow_nan=False)


def save_json(path: Path, value: Any) -> None:
    """Write as JSON, beside and then renamed; a number that JSON lacks (infinity) is null.

    Raises:
        UserError: the place cannot be written to.
    """
    with replacing(path) as beside:
        beside.write_text(to_json(value, indent=1) + "\n")


class Writer:
    """Writes ``metrics.jsonl``, ``tensorboard/`` and ``samples/`` into a workdir.

    Lines are flushed as they are written, and a resumed run appends. Only one process should write;
    the others pass ``active=False``.
    """

    def __init__(self, workdir: Path, *, active: bool = True) -> None:
        """Open the files."""
        self._samples = workdir / "samples"
        self._lines = self._board = None
        if active:
            workdir.mkdir(parents=True, exist_ok=True)
            self._lines = (workdir / "metrics.jsonl").open("a", buffering=1)
            self._board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"))

    def write(self, step: int, **metrics: float) -> None:
        """Write scalars; names may contain "/" to group them."""
        if self._lines is None or self._board is None:
            return
        self._lines.write(to_json({"step": step, **metrics}) + "\n")
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)

    def write_picture(self, step: int, name: str, picture: UInt8[ndarray, "h w 3"]) -> None:
        """Write a picture as ``samples/<name>-<step>.png``."""
        if self._board is not None:
            write_image(self._samples / f"{name}-{step:07d}.png", picture)
            self._board.add_image(name, picture, step, dataformats="HWC")

    def __enter__(self) -> "Writer":
        """Use as a context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        if self._lines is not None and self._board is not None:
            self._lines.close()
            self._board.close()
