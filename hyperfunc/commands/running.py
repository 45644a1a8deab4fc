"""How a command starts and ends.

| exit code | meaning |
|---|---|
| 0 | everything is done |
| 1 | some files of a folder failed, or the output is no longer read |
| 2 | the user can fix it: one line says what is wrong and what to do |
| 70 | a bug in hyperfunc: two lines say where to report it |
| 130 | Ctrl-C |
| 143 | SIGTERM |

Python's own handler of Ctrl-C raises `KeyboardInterrupt` wherever the main thread is. That is not
reliable here: in a callback of the garbage collector (JAX has one) Python prints the exception and
drops it. And it is not clean: XLA's threads may crash while Python shuts down under them. So Ctrl-C
ends the process of a command at once. Files are written beside their place and renamed, so none is
left incomplete.
"""

import contextlib
import errno
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol, TypeVar

from hyperfunc.cache import turn_off_cache
from hyperfunc.commands.arguments import Common
from hyperfunc.commands.logs import hide_tracebacks_of_libraries, writing_log
from hyperfunc.errors import REPORT_ADDRESS, UserError, one_line

USER_ERROR = 2
INTERNAL_ERROR = 70
"""EX_SOFTWARE of the BSD header sysexits.h."""
INTERRUPTED = 130
"""What shells report for a process that Ctrl-C has ended."""

REMEDIES = {
    errno.EACCES: "check who may read and write",
    errno.EPERM: "check who may read and write",
    errno.EROFS: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove the link that leads to itself",
    errno.ENOSPC: "make room or choose another place",
    errno.EDQUOT: "make room or choose another place",
    errno.EIO: "check the disk; of a bucket, the network and the login",
}
"""What users can do about errors of the file system, by their numbers."""

logger = logging.getLogger(__name__)


class _Arguments(Protocol):
    @property
    def common(self) -> Common: ...


A = TypeVar("A", bound=_Arguments)


def run_command(
    parse: Callable[[list[str]], A],
    run: Callable[[A], None],
    words: list[str],
    *,
    owns_process: bool,
) -> None:
    """Parse the words of a command line and run the command; SystemExit has the exit code.

    If the process exists for this command only (``owns_process``), Ctrl-C ends it.
    """
    if owns_process:
        _open_closed_streams()
        signal.signal(signal.SIGINT, _exit)
        hide_tracebacks_of_libraries()
    with report_errors(ValueError):
        arguments = parse(words)
    common = arguments.common
    if common.no_cache:
        turn_off_cache()
    with report_errors(quiet=common.quiet, debug=common.debug), _printing_any_name():
        run(arguments)
        sys.stdout.flush()  # Here a closed pipe can still be handled.


@contextlib.contextmanager
def report_errors(
    *user_errors: type[Exception], quiet: bool = False, debug: bool = False
) -> Iterator[None]:
    """Write the log of a command, and turn exceptions into messages and exit codes (SystemExit).

    ``user_errors`` count as the user's besides `UserError`; for the others see `writing_log`. The
    environment may ask for tracebacks, too.
    """
    debug = debug or os.environ.get("HYPERFUNC_DEBUG", "0") not in ("", "0")
    with writing_log(quiet=quiet, debug=debug) as errors:
        try:
            yield
        except (UserError, *user_errors) as error:
            # A room may have told an internal error as the failure of a file.
            _end(str(error), INTERNAL_ERROR if errors.count else USER_ERROR)
        except BrokenPipeError:
            # The reader of the output, such as `head`, has closed it. Python flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except OSError as error:  # Wherever a path is looked at.
            if error.errno not in REMEDIES:
                _end_bug(error)
            place = f"{error.filename}: " if error.filename else ""
            _end(f"{place}{error.strerror}; {REMEDIES[error.errno]}", USER_ERROR)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None
        except Exception as error:
            from hyperfunc.devices import is_out_of_memory  # It imports JAX, which is there by now.

            if "Symlink loop" in str(error):  # Of Path.resolve, before Python 3.13.
                _end(f"{error}; {REMEDIES[errno.ELOOP]}", USER_ERROR)
            if is_out_of_memory(error):
                reason = f"{type(error).__name__}: {error}"[:200]
                remedy = "choose a smaller output, --tile or --data.batch_size"
                _end(f"not enough memory ({reason}): {remedy}", USER_ERROR)
            _end_bug(error)
        finally:
            if errors.count:
                place = f"in {errors.path}" if errors.path else "above"
                hint = "; run the command again with --debug to see it here" if errors.path else ""
                print(
                    f"please report it at {REPORT_ADDRESS} with the traceback {place}{hint}",
                    file=sys.stderr,
                )


def _open_closed_streams() -> None:
    """Open what was closed for this process: a file would get its number, and libraries print."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))


def _end(reason: str, exit_code: int, *, cause: Exception | None = None) -> NoReturn:
    logger.debug("the command ends with an error", exc_info=True)
    print(f"error: {one_line(' '.join(reason.split()))}", file=sys.stderr)
    raise SystemExit(exit_code) from cause


def _end_bug(error: Exception) -> NoReturn:
    logger.exception("unexpected %s", type(error).__name__)
    reason = f"{type(error).__name__}: {error}"
    _end(f"{reason}: this is a bug in hyperfunc", INTERNAL_ERROR, cause=error)


@contextlib.contextmanager
def _printing_any_name() -> Iterator[None]:
    """Print what a stream cannot encode as escapes: the name of a file may be any bytes."""
    streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)


@contextlib.contextmanager
def noting_interrupt() -> Iterator[Callable[[], bool]]:
    """Note a first Ctrl-C or SIGTERM and do not end; yield a function that tells of it.

    Raises:
        SystemExit: it was SIGTERM, and the context raised KeyboardInterrupt for it.
    """
    interrupted: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # Signals do not arrive here.
        yield lambda: False
        return

    def note(number: int, frame: Any) -> None:
        del frame
        interrupted.append(number)
        signal.signal(number, previous[number])

    numbers = signal.SIGINT, signal.SIGTERM
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, note)
    try:
        yield lambda: bool(interrupted)
    except KeyboardInterrupt:
        if interrupted[:1] == [signal.SIGTERM]:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _exit(number: int, frame: Any) -> None:
    del number, frame
    # The signal may have interrupted a write to one of them, or nobody reads them any more.
    with contextlib.suppress(RuntimeError, OSError):
        sys.stdout.flush()
        print("interrupted", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)
