"""How a command starts and ends.

| exit code | meaning |
|---|---|
| 0 | everything is done |
| 1 | some files of a folder failed, or the output is no longer read |
| 2 | the user can mend it: one line says what is wrong and what to do |
| 70 | a mistake in hyperfunc: two lines say where to report it |
| 130 | Ctrl-C |
"""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn, Protocol, TypeVar

from hyperfunc.commands.arguments import Messages
from hyperfunc.commands.interrupts import EXIT_CODE, exit_on_interrupt
from hyperfunc.commands.logs import TracebackFile, is_debug_requested, writing_log
from hyperfunc.errors import REPORT_ADDRESS, UserError

USER_ERROR = 2
INTERNAL_ERROR = 70
"""EX_SOFTWARE of the BSD header sysexits.h."""

logger = logging.getLogger(__name__)


class _Arguments(Protocol):
    @property
    def messages(self) -> Messages: ...


A = TypeVar("A", bound=_Arguments)


def run_command(
    parse: Callable[[list[str]], A],
    run: Callable[[A], None],
    words: list[str],
    *,
    owns_process: bool,
) -> None:
    """Parse the words of a command line and run the command.

    Args:
        parse: from words to arguments.
        run: does the work.
        words: the command line without the name of the command.
        owns_process: whether the process exists for this command only, so that Ctrl-C may end it.

    Raises:
        SystemExit: the command ends with another exit code than 0; see above.
    """
    if owns_process:
        exit_on_interrupt()
    with report_errors(ValueError):
        arguments = parse(words)
    messages = arguments.messages
    with report_errors(quiet=messages.quiet, debug=messages.debug), _printing_any_name():
        run(arguments)
        sys.stdout.flush()  # Here a closed pipe can still be handled.


@contextlib.contextmanager
def report_errors(
    *user_errors: type[Exception], quiet: bool = False, debug: bool = False
) -> Iterator[None]:
    """Write the log of a command, and turn exceptions into messages and exit codes.

    Args:
        user_errors: exceptions that count as the user's besides `UserError`.
        quiet: whether slow steps are not announced.
        debug: whether tracebacks are shown; the environment may ask for them, too.

    Raises:
        SystemExit: there was an exception.
    """
    debug = debug or is_debug_requested()
    with writing_log(quiet=quiet, debug=debug) as tracebacks:
        try:
            yield
        except (UserError, *user_errors) as error:
            _refuse(str(error))
        except PermissionError as error:  # Wherever a path is looked at.
            place = f"{error.filename}: " if error.filename else ""
            _refuse(f"{place}permission denied; check who may read and write")
        except BrokenPipeError:
            # The reader of the output, such as `head`, has closed it. Python flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise SystemExit(EXIT_CODE) from None
        except Exception as error:
            if _is_out_of_memory(error):
                _refuse(
                    f"not enough memory ({_one_line(error)[:200]}): choose a smaller output, "
                    "--tile or --data.batch_size"
                )
            logger.exception("unexpected %s", type(error).__name__)
            print(f"error: {_one_line(error)}: this is a mistake in hyperfunc", file=sys.stderr)
            print(_ask_for_report(tracebacks), file=sys.stderr)
            raise SystemExit(INTERNAL_ERROR) from error
        if tracebacks.path is not None:  # An error that did not end the command.
            print(_ask_for_report(tracebacks), file=sys.stderr)


def _refuse(reason: str) -> NoReturn:
    logger.debug("the command ends with a user error", exc_info=True)
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    raise SystemExit(USER_ERROR) from None


def _ask_for_report(tracebacks: TracebackFile) -> str:
    """Say where an internal error is to be reported."""
    if tracebacks.path is None:
        return f"please report it at {REPORT_ADDRESS} with the traceback above"
    return (
        f"please report it at {REPORT_ADDRESS} with the traceback in {tracebacks.path}; "
        "run the command again with --debug to see it here"
    )


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


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
