"""What happened to the files of a run: counts, and a report of each file."""

import collections
import contextlib
import dataclasses
import textwrap
from pathlib import Path
from typing import IO, Any

from hyperfunc.files import replacing, to_json
from hyperfunc.upscaling.batch_plan import Batch, Outcome

MAX_ERRORS = 1000
"""Errors that are kept for the end of the run; the report has all of them."""


class Tally(contextlib.ExitStack):
    """Counts files by their status, and writes the report as they come.

    It keeps what happened to the last file, and the errors of the first `MAX_ERRORS` that failed,
    and counts the suffixes of files that are no images.
    """

    def __init__(self, report: Path | None = None) -> None:
        """Begin a report, if a path is given, which `finish` completes.

        Raises:
            UserError: the file cannot be written; the methods raise it, too.
        """
        super().__init__()
        names = ("done", "skipped", "failed", "pending")
        self.counts = collections.Counter[str](dict.fromkeys(names, 0))
        self.last: Outcome | None = None
        self.errors: list[str] = []
        self.passed_over = collections.Counter[str]()
        self._file: IO[str] | None = None
        if report is not None:
            self._file = self.enter_context(
                self.enter_context(replacing(report)).open("w", encoding="utf-8")
            )
            self._file.write('{\n "files": [')

    def add(self, batch: Batch) -> None:
        """Count the files of a batch, and write what happened to each."""
        for outcome in batch.outcomes:
            self.last = outcome
            if self._file is not None:
                text = to_json(dataclasses.asdict(outcome), indent=1)
                separator = "," * bool(self.counts.total())
                self._file.write(f"{separator}\n{textwrap.indent(text, '  ')}")
            self.counts[outcome.status] += 1
            if outcome.error and len(self.errors) < MAX_ERRORS:
                self.errors.append(outcome.error)
        self.passed_over += batch.passed_over

    def finish(self, **about: Any) -> None:
        """Complete the report with the counts, "passed_over" and what else is given."""
        if self._file is not None:
            text = to_json({**about, **self.counts, "passed_over": self.passed_over}, indent=1)
            self._file.write(f"\n ],{text[1:]}\n")
        self.close()
