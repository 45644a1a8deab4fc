"""The one exception that is meant for people rather than for programmers."""

import _thread
import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


class UserError(Exception):
    """A failure that a user can cause and can mend.

    Its message is one line: what was wrong, with the offending value, and what to do about it.
    The scripts print that line and exit with code 2; no traceback is shown. A mistake in a program
    (a wrong shape, a wrong type) is a `ValueError` or a `TypeError` instead.
    """


@contextlib.contextmanager
def report_errors(*others: type[Exception], ends_process: bool = False) -> Iterator[None]:
    """Let a command end with one line on stderr and exit code 2 for what its user can mend.

    Ctrl-C ends it with one line, too, and the exit code 130.

    Args:
        others: exceptions that count as the user's besides `UserError`, where arguments are parsed.
        ends_process: whether the process has nothing else to do: Ctrl-C then ends it at once,
            without waiting for threads. (XLA's go on with what was begun, and crash where Python is
            taken down under them.) It is heard in callbacks, too, where Python would drop it.
    """
    if ends_process:
        _repeat_lost_interruptions()
    try:
        yield
    except (UserError, *others) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except PermissionError as error:  # wherever a path is looked at
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}permission denied; check who may read and write", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        if ends_process:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(130)
        raise SystemExit(130) from None  # What a shell reports for SIGINT.


def _repeat_lost_interruptions() -> None:
    """Hear Ctrl-C also where Python only prints and drops what is raised.

    That is in finalizers and in callbacks of the garbage collector: JAX has one, and so a signal
    that came during a collection (a second, where many programs were traced) would be lost.
    """
    before = sys.unraisablehook

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        if dropped.exc_type is KeyboardInterrupt:
            threading.Timer(0.01, _interrupt_main).start()  # By then the callback has returned.
        else:
            before(dropped)

    sys.unraisablehook = hook


def _interrupt_main() -> None:
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:  # This one wakes it, too, from what it waits for.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def check_range(
    settings: Any, *names: str, least: float | int, most: float | int = math.inf
) -> None:
    """Refuse settings that are not numbers between two, both included.

    Args:
        settings: has them as attributes: a number, or a tuple of such.
        names: which ones.
        least: may be.
        most: may be, unless it is infinite.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        value = getattr(settings, name)
        values = value if isinstance(value, tuple) else (value,)
        if not all(least <= number <= most and math.isfinite(number) for number in values):
            wanted = f"at least {least}" if most == math.inf else f"a number from {least} to {most}"
            raise ValueError(f"{name} {value}: give {wanted}")
