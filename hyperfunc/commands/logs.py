"""The log of a command: messages for people on stderr, tracebacks in a file.

All modules log through ``logging.getLogger(__name__)``; where that goes is decided here alone.
"""

import contextlib
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hyperfunc.errors import one_line

RAISING = ("absl", "asyncio", "gcsfs")
"""Loggers of Orbax and of its tasks, and of a store. What they log as an error is raised, too."""


class ErrorLog(logging.Handler):
    """Counts logged errors, and keeps them with their tracebacks in a temporary file."""

    def __init__(self, *, writes_file: bool) -> None:
        """Start without errors."""
        super().__init__(logging.ERROR)
        self.count, self.path = 0, None
        self._writes_file = writes_file

    def emit(self, record: logging.LogRecord) -> None:
        """Count and append a record."""
        self.count += 1
        if not self._writes_file:
            return
        try:
            if self.path is None:
                descriptor, name = tempfile.mkstemp(prefix="hyperfunc-", suffix=".log")
                os.close(descriptor)
                self.path = Path(name)
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(self.format(record) + "\n")
        except OSError:
            self.handleError(record)


class _Console(logging.Handler):
    """Prints to stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


class _MessageFormatter(logging.Formatter):
    """Formats announcements as plain lines, and marks warnings."""

    def format(self, record: logging.LogRecord) -> str:
        message = one_line(" ".join(record.getMessage().split()))
        return f"warning: {message}" if record.levelno >= logging.WARNING else message


@contextlib.contextmanager
def writing_log(*, quiet: bool = False, debug: bool = False) -> Iterator[ErrorLog]:
    """Send what the package logs where a user expects it, and yield the errors.

    Announcements of slow steps (unless ``quiet``) and warnings go to stderr, and errors with their
    tracebacks to a file, because the command prints a message of its own. With ``debug`` all goes
    to stderr.
    """
    logger = logging.getLogger("hyperfunc")
    errors, console = ErrorLog(writes_file=not debug), _Console()
    errors.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    if debug:
        console.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    else:
        console.setFormatter(_MessageFormatter())
        console.addFilter(lambda record: record.levelno < logging.ERROR)
    show_warning = warnings.showwarning
    if not debug:
        warnings.showwarning = _log_warning
    levels = {name: logging.getLogger(name).level for name in ("hyperfunc", *RAISING)}
    propagate = logger.propagate
    logger.propagate = False  # Dependencies give the root logger a handler of their own.
    logger.setLevel(logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO)
    for name in RAISING:
        logging.getLogger(name).setLevel(logging.NOTSET if debug else logging.CRITICAL)
    for handler in (console, errors):
        logger.addHandler(handler)
    try:
        yield errors
    finally:
        for handler in (console, errors):
            logger.removeHandler(handler)
        warnings.showwarning = show_warning
        logger.propagate = propagate
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _log_warning(message: Warning | str, *_: Any) -> None:
    """Log a warning of a library, without the line of its source."""
    logging.getLogger(__name__).warning("%s", message)


def hide_tracebacks_of_libraries() -> None:
    """Show tracebacks of threads and callbacks with --debug only: on a full disk dozens fail."""
    for name in RAISING:
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def log(failure: Any) -> None:
        error = failure.exc_value
        logging.getLogger(__name__).debug("a thread or a callback has failed", exc_info=error)

    threading.excepthook = sys.unraisablehook = log
