"""The one exception that is meant for people rather than for programmers."""

import contextlib
import sys
from collections.abc import Iterator


class UserError(Exception):
    """A failure that a user can cause and can mend.

    Its message is one line: what was wrong, with the offending value, and what to do about it.
    The scripts print that line and exit with code 2; no traceback is shown. A mistake in a program
    (a wrong shape, a wrong type) is a `ValueError` or a `TypeError` instead.
    """


@contextlib.contextmanager
def report_errors(*others: type[Exception]) -> Iterator[None]:
    """Let a command end with one line on stderr and exit code 2 for what its user can mend.

    Ctrl-C ends it with one line, too, and the exit code 130.

    Args:
        others: exceptions that count as the user's besides `UserError`, where arguments are parsed.
    """
    try:
        yield
    except (UserError, *others) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None  # What a shell reports for SIGINT.
