"""Show how far a batch is, and how much time and memory it will take."""

import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from hyperfunc.errors import one_line
from hyperfunc.upscaling.batch_plan import Job
from hyperfunc.upscaling.memory import own_memory, peak_memory
from hyperfunc.upscaling.upscaler import Upscaler

ESTIMATE_AFTER_SHARE = 0.1
"""Time is estimated after this share of all output pixels: one image of a folder says little about
the others."""

ESTIMATE_AFTER_SECONDS = 5.0
"""Time is estimated after so many seconds of rendering, however little is done."""

WRITER_BYTES = 32 * 2**20
"""What the libraries take that are loaded to write an image, after the estimate."""


class BatchProgress:
    """A progress bar in output pixels.

    The bar's clock stands still while an image is awaited or the model is compiled, so that the
    estimate holds for the images to come.
    """

    def __init__(self, upscaler: Upscaler, say: Callable[[str], None]) -> None:
        """Show the bar, if stderr is a terminal; ``say`` once what time and memory it will take."""
        self._upscaler, self._say, self._is_estimated = upscaler, say, True
        self._memory = self._own = 0
        self._done, self._begun, self._lock = 0, dict[int, int](), threading.Lock()
        # A bar that is disabled measures nothing.
        self._nowhere = open(os.devnull, "w", errors="backslashreplace")  # Names are any bytes.
        self._bar: tqdm[Any] = tqdm(
            total=0,
            unit="px",
            unit_scale=True,
            smoothing=0,  # Files differ: the average says more than the last one.
            mininterval=0,
            miniters=1,
            file=sys.stderr if sys.stderr.isatty() else self._nowhere,
        )

    def add(self, jobs: Sequence[Job], image_memory: int, *, is_all: bool) -> None:
        """Add files, whose images take so many bytes; ``is_all``: the time can be estimated."""
        with self._lock:
            self._bar.total += sum(job.pixels for job in jobs)
            self._memory += image_memory
            self._is_estimated = not is_all

    def show_name(self, name: str) -> None:
        """Show which file is next."""
        self._bar.set_postfix_str(one_line(name))

    def update(self, jobs: Sequence[Job], done: int, total: int) -> None:
        """Show that ``done`` of ``total`` pieces of images are rendered. Any thread may call it."""
        with self._lock:
            if done == 0:
                self._bar.unpause()
                # What is compiled is in memory by now. The outputs are still to come.
                self._own = self._own or own_memory() or peak_memory()
            self._begun[id(jobs)] = sum(job.pixels for job in jobs) * done // total
            self._show()
            self._estimate()

    def finish(self, jobs: Sequence[Job]) -> None:
        """Count images as done, or leave them out if they failed."""
        with self._lock:
            self._begun.pop(id(jobs), None)
            for job in jobs:
                if job.outcome.status == "failed":
                    self._bar.total -= job.pixels
                else:
                    self._done += job.pixels
            self._show()

    def close(self) -> None:
        """Take the bar off the screen."""
        self._bar.close()
        self._nowhere.close()

    def _show(self) -> None:
        self._bar.update(self._done + sum(self._begun.values()) - self._bar.n)

    def _estimate(self) -> None:
        """Say once what to expect, as soon as enough has been seen."""
        meter = self._bar.format_dict
        done, total, elapsed = meter["n"], meter["total"], meter["elapsed"]
        is_enough = done >= ESTIMATE_AFTER_SHARE * total or elapsed >= ESTIMATE_AFTER_SECONDS
        if self._is_estimated or not done or not is_enough:
            return
        self._is_estimated = True
        rendering = self._own + self._upscaler.workspace + self._memory + WRITER_BYTES
        needed = max(peak_memory(), rendering)
        time = tqdm.format_interval(elapsed * total / done)
        self._say(
            f"expected: {time} for rendering, {math.ceil(needed / 2**30 * 10) / 10} GiB of memory"
        )


def print_above_bar(text: str) -> None:
    """Print a line without disturbing a progress bar."""
    tqdm.write(one_line(text), file=sys.stdout)
