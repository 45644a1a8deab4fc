"""Ctrl-C in the process of a command.

Python's own handler raises `KeyboardInterrupt` wherever the main thread is. That is not reliable
here: in a callback of the garbage collector (JAX has one) Python prints the exception and drops it.
And it is not clean: XLA's threads may crash while Python shuts down under them. So the handler of a
command ends the process itself. Files are written beside their place and renamed, so none is left
incomplete.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

EXIT_CODE = 130
"""What shells report for a process that Ctrl-C has ended."""


def exit_on_interrupt() -> None:
    """Let Ctrl-C end this process at once, with one line on stderr."""
    signal.signal(signal.SIGINT, _exit)


@contextlib.contextmanager
def noting_interrupt() -> Iterator[Callable[[], bool]]:
    """Note a first Ctrl-C instead of ending the process, and restore the previous handler.

    Yields:
        A function that tells whether Ctrl-C was pressed.
    """
    interrupted: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # Signals do not arrive here.
        yield lambda: False
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        del frame
        interrupted.append(number)
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(interrupted)
    finally:
        signal.signal(signal.SIGINT, previous)


def _exit(number: int, frame: Any) -> None:
    del number, frame
    # The signal may have interrupted a write to one of them, or nobody reads them any more.
    with contextlib.suppress(RuntimeError, OSError):
        sys.stdout.flush()
        print("interrupted", file=sys.stderr, flush=True)
    os._exit(EXIT_CODE)
