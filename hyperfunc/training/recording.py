"""What a run records between its steps: metrics, validation scores and checkpoints."""

import time
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment, Workdir
from hyperfunc.training.starting import save_state
from hyperfunc.training.step import TrainState
from hyperfunc.training.validation import Validator
from hyperfunc.training.writer import Writer


def is_due(step: int, every: int, last: int) -> bool:
    """Return whether something happens after this step: at its interval, and after the last one."""
    return step % every == 0 or step == last


class Recorder:
    """Logs, validates and saves, each at the interval that the experiment gives it."""

    def __init__(
        self,
        experiment: Experiment,
        data: str,
        start: int,
        validator: Validator,
        checkpoints: Workdir,
        writer: Writer,
        progress: tqdm,
    ) -> None:
        """Prepare to record a run after ``start`` steps on the images that ``data`` identifies."""
        self._experiment, self._data = experiment, data
        self._validator, self._checkpoints = validator, checkpoints
        self._writer, self._progress = writer, progress
        self._logged, self._since = start, 0.0

    def start_clock(self) -> None:
        """Begin to measure the speed of the steps."""
        self._since = time.monotonic()

    def tell(self, message: str) -> None:
        """Print a message; one process does it for all."""
        if jax.process_index() == 0:
            self._progress.write(message)

    def tell_best(self, workdir: Path) -> None:
        """Print where the best checkpoint is, unless it is the newest one."""
        best = self._checkpoints.best()
        if best not in (None, self._checkpoints.latest()):
            self.tell(f"the best checkpoint is that of step {best}: {workdir}/checkpoints/{best}")

    def record(
        self, step: int, state: TrainState, metrics: dict[str, Array], *, is_stopping: bool
    ) -> None:
        """Log, validate and save as far as these are due; the last step is always saved."""
        run = self._experiment.run
        logs, validates, saves = (
            is_due(step, every, run.steps)
            for every in (run.log_every, run.validate_every, run.save_every)
        )
        if not (logs or validates or saves or is_stopping):
            return
        self.check_finite(step, metrics)
        if logs:
            self._log(step, metrics)
        began = time.monotonic()
        psnr = self._validate(step, state) if validates else None
        # What was validated may be the best, and is saved, too.
        if saves or psnr is not None or is_stopping:
            save_state(self._checkpoints, self._experiment, step, state, psnr, self._data)
        self._since += time.monotonic() - began  # Measure the speed of the steps alone.

    def check_finite(self, step: int, metrics: dict[str, Array]) -> None:
        """Check that the loss, the gradient and the updated parameters are finite."""
        for name, value in jax.device_get(metrics).items():
            if not np.isfinite(value):
                saved = self._checkpoints.latest()
                raise UserError(
                    f"the {name.replace('_', ' ')} is {float(value)} at step {step}: "
                    + (f"the checkpoint of step {saved} is good" if saved else "nothing is saved")
                    + "; lower --optimizer.learning_rate or --optimizer.clip_norm in a new "
                    "--workdir"
                )

    def _log(self, step: int, metrics: dict[str, Array]) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        now = time.monotonic()
        steps_per_second = (step - self._logged) / (now - self._since)
        self._logged, self._since = step, now
        speed = steps_per_second * self._experiment.data.batch_size
        self._writer.write(step, **values, images_per_second=speed)
        self._progress.set_postfix(loss=f"{values['loss']:.4f}", images_per_second=f"{speed:.0f}")

    def _validate(self, step: int, state: TrainState) -> float | None:
        """Return the PSNR that ranks checkpoints; None without held-out images."""
        scores, picture = self._validator(state.variables())
        if picture is not None:
            self._writer.write(step, **scores)
            self._writer.write_picture(step, "validation", picture)
            self.tell(f"step {step}: validation {scores['validation/psnr']:.3f} dB")
        return scores.get("validation/psnr")
