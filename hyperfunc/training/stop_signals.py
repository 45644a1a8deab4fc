"""SIGTERM and Ctrl-C: save and stop after the current step."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils
from tqdm import tqdm


@contextlib.contextmanager
def catch_stop_signals() -> Iterator[Callable[[int], bool]]:
    """Catch SIGTERM and Ctrl-C until the context ends.

    A second Ctrl-C interrupts at once; so does the first one before the first step, when there is
    nothing to save. Several processes that train together agree, through JAX, on the step after
    which they stop: JAX catches SIGTERM in any of them, and Ctrl-C interrupts.

    Yields:
        A function to call with the number of each finished step: it returns whether to save and
        stop.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return
    handler = _StopHandler()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            handler.previous[number] = signal.signal(number, handler.handle)
    except ValueError:  # Not in the main thread, which alone receives signals.
        pass
    try:
        yield handler.is_asked_to_stop
    finally:
        for number, previous in handler.previous.items():
            signal.signal(number, previous)


class _StopHandler:
    """Remembers a signal until the training loop asks for it.

    Attributes:
        previous: the handlers that this one replaces, by signal.
    """

    def __init__(self) -> None:
        self.previous: dict[int, Any] = {}
        self._has_signal = False
        self._has_step = False

    def handle(self, number: int, frame: Any) -> None:
        """Handle a signal."""
        if number == signal.SIGINT and (self._has_signal or not self._has_step):
            interrupt = self.previous[number]
            if callable(interrupt):
                interrupt(number, frame)
                return
            raise KeyboardInterrupt
        self._has_signal = True
        if number == signal.SIGINT:
            tqdm.write("stopping after this step; press Ctrl-C again to stop at once")

    def is_asked_to_stop(self, step: int) -> bool:
        """Return whether there was a signal."""
        del step
        self._has_step = True
        return self._has_signal
