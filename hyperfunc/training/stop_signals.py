"""What ends a run early: SIGTERM, Ctrl-C, or the loss of another process that trains with it."""

import contextlib
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils
from tqdm import tqdm

from hyperfunc.devices import is_out_of_memory

LOST = 2
"""The exit code when another process is lost, as for all that the user can fix."""


class StopSignals:
    """Tells after each step whether a signal asks to save and stop.

    Processes that train together leave SIGTERM to JAX, which has all of them stop after the same
    step. There, Ctrl-C interrupts at once.
    """

    def __init__(self) -> None:
        """Start without a signal."""
        self._number: int | None = None
        self._has_step, self._is_in_time = False, threading.Event()
        self._previous: dict[int, Any] = {}

    def is_asked(self, step: int, metrics: Any) -> bool:
        """Return whether to save and stop after a step; if so, its metrics are computed then."""
        self._has_step = True
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        if self._number is None:
            return False
        jax.block_until_ready(metrics)
        self._is_in_time.set()
        return True

    def end(self) -> NoReturn:
        """End the run as the signal would have ended the process."""
        if self._number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)

    def handle(self, number: int, frame: Any) -> None:
        """Note a signal; or end the run, before the first step and at a second Ctrl-C."""
        is_second = self._number == number == signal.SIGINT
        self._number = number
        if self._has_step and not is_second:
            if number == signal.SIGINT:
                tqdm.write("stopping after this step; press Ctrl-C again to stop at once")
        elif number == signal.SIGINT and callable(self._previous[number]):
            self._previous[number](number, frame)
        else:
            self.end()

    @contextlib.contextmanager
    def catching(self, patience: float) -> Iterator[None]:
        """Catch both signals; for ``patience`` see `hyperfunc.training.train`."""
        has_signals = threading.current_thread() is threading.main_thread()
        if jax.process_count() > 1 or not has_signals:
            yield
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self.handle)
        try:
            with self._ending_late(patience) if patience < math.inf else contextlib.nullcontext():
                yield
        finally:
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _ending_late(self, patience: float) -> Iterator[None]:
        """End the process when a step, or a compilation, lasts too long after a signal.

        Python calls `handle` only once the main thread has returned from XLA, but it writes the
        number of a signal into a socket at once, where another thread waits.
        """
        receiver, sender = socket.socketpair()
        sender.setblocking(False)

        def wait() -> None:
            with receiver:
                numbers = receiver.recv(1)
                if numbers and not self._is_in_time.wait(patience):
                    text = f"stopped within a step that lasts more than {patience:g} s"
                    print(f"\n{text}: run again to continue", file=sys.stderr, flush=True)
                    os._exit(128 + numbers[0])

        threading.Thread(target=wait, daemon=True).start()
        previous = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            self._is_in_time.set()
            sender.close()


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """End this process at once if another one of the training is lost: usually it would hang."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        print(
            f"\nerror: another process of this training is lost ({reason}): start all of them "
            "again to continue from the newest checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(LOST)
