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
    previous: dict[int, Any] = {}
    has_signal = has_step = False

    def handle(number: int, frame: Any) -> None:
        nonlocal has_signal
        if number == signal.SIGINT and (has_signal or not has_step):
            if not callable(previous[number]):
                raise KeyboardInterrupt
            previous[number](number, frame)
            return
        has_signal = True
        if number == signal.SIGINT:
            tqdm.write("stopping after this step; press Ctrl-C again to stop at once")

    def is_asked_to_stop(step: int) -> bool:
        nonlocal has_step
        del step
        has_step = True
        return has_signal

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            previous[number] = signal.signal(number, handle)
    except ValueError:  # Not in the main thread, which alone receives signals.
        pass
    try:
        yield is_asked_to_stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
