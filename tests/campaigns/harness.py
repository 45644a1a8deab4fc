"""Commands in processes of their own, which may be slow, large, or killed at any moment.

Python, JAX and this package are imported once, in a server from which the processes fork.
"""

import contextlib
import dataclasses
import faulthandler
import io
import multiprocessing
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

LONGEST = 10.0
"""Seconds of processor time that one job may take."""

LONGEST_WAIT = 300.0
"""Seconds that it may take where other programs use the processor, too, or where it waits."""

LARGEST = 2**31
"""Bytes of memory that one job may take."""

LARGEST_BETWEEN_JOBS = 2**30
"""A worker that has grown beyond this is replaced: programs that JAX has compiled stay in it."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["hyperfunc.commands.train", "hyperfunc.training", __name__])


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a job ended, and what its function returned if it was done."""

    how: Literal["done", "slow", "large", "died"]
    result: Any = None
    """For "slow": where each thread was."""


class Worker:
    """A process that does jobs one after the other, and is replaced when one of them ends it.

    Args:
        start: called in the process with the arguments below; returns the function of a job.
        arguments: for ``start``.
    """

    def __init__(self, start: Callable[..., Callable[[Any], Any]], *arguments: Any) -> None:
        self._start, self._arguments = start, arguments
        self._begin()

    def do(self, job: Any) -> Ended:
        """Do a job within the limits of time and memory."""
        if _memory(self._process.pid) > LARGEST_BETWEEN_JOBS:
            self.close()
            self._begin()
        began, processor = time.monotonic(), _processor_time(self._process.pid)
        self._pipe.send(job)
        while not self._pipe.poll(0.02):
            pid = self._process.pid
            if not self._process.is_alive():
                return self._replace("died")
            if _memory(pid) > LARGEST:
                return self._replace("large")
            is_late = time.monotonic() - began > LONGEST_WAIT
            if is_late or _processor_time(pid) - processor > LONGEST:
                return self._replace("slow")
        try:
            return Ended("done", self._pipe.recv())
        except EOFError:
            return self._replace("died")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()
        self._traces.close()

    def _begin(self) -> None:
        self._pipe, end = PROCESSES.Pipe()
        self._traces = tempfile.NamedTemporaryFile()
        arguments = end, self._traces.name, self._start, self._arguments
        self._process = PROCESSES.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        end.close()
        assert self._pipe.recv() == "ready"

    def _replace(self, how: Literal["slow", "large", "died"]) -> Ended:
        if how == "slow":
            os.kill(self._process.pid or 0, signal.SIGUSR1)
            time.sleep(1)
        traces = self._traces.read().decode()
        self.close()
        self._begin()
        return Ended(how, traces)


def _work(
    pipe: Any, traces: str, start: Callable[..., Callable[[Any], Any]], arguments: tuple
) -> None:
    faulthandler.register(signal.SIGUSR1, open(traces, "w"))
    do = start(*arguments)
    pipe.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(do(pipe.recv()))


def run_command(words: list[str]) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it printed."""
    from hyperfunc.commands import main

    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            main(words)
        except SystemExit as error:
            return int(error.code or 0), text.getvalue()
        except BaseException:  # Libraries raise others, too.
            return 1, traceback.format_exc()
    return 0, text.getvalue()


def run_killed(words: list[str], folder: Path, after: float | None) -> int | None:
    """Run a command, and kill its process after so many seconds.

    Args:
        words: of the command.
        folder: for the cache of programs, and for what the command prints (``log.txt``).
        after: None lets it come to its end.

    Returns:
        The exit code; None if the process was killed.
    """
    process = PROCESSES.Process(target=_run_logged, args=(words, folder), daemon=True)
    process.start()
    process.join(after)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def _run_logged(words: list[str], folder: Path) -> None:
    from hyperfunc.commands import main

    os.environ["HYPERFUNC_CACHE"] = str(folder / "cache")
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    main(words)


def _memory(pid: int | None) -> int:
    return int(_read(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _processor_time(pid: int | None) -> float:
    ticks = _read(pid, "stat").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _read(pid: int | None, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:  # It has ended.
        return " ".join("0" * 20)
