"""One batch of all files, for tests of runs."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hyperfunc.upscaling import Batch, Request, Upscaler, plan_batches, run_batches


def plan_batch(
    source: Path | Sequence[Path],
    target: str | os.PathLike[str],
    request: Request,
    *,
    overwrite: bool = False,
    suffix: str | None = None,
) -> Batch:
    """Plan all files as one batch."""
    options: dict[str, Any] = {"overwrite": overwrite, "suffix": suffix, "size": sys.maxsize}
    (batch,) = plan_batches(source, target, request, **options)
    return batch


def run_batch(batch: Batch, upscaler: Upscaler, **options: Any) -> None:
    """Enlarge the files of one batch."""
    run_batches([batch], upscaler, **options)
