"""The workdir of a training run: its checkpoints, written with Orbax, and the lock on it."""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import jax

from hyperfunc.errors import UserError, check_extra
from hyperfunc.experiment.checkpoint_files import (
    Config,
    make_config,
    read_arrays,
    read_config,
    shorten,
)
from hyperfunc.experiment.config import Experiment
from hyperfunc.files import Address, as_path

_UNSUPPORTED_LOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""The errors of file systems without locks; filelock raises NotImplementedError for some."""

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def lock_workdir(workdir: Path) -> Iterator[None]:
    """Keep other processes from training in a workdir.

    The operating system releases the lock when the process ends, however it ends. Of several
    processes that train together, the first one holds the lock for all. Of a run that ended before
    it wrote anything, no folder is left that was not there before.

    Raises:
        UserError: another process trains there, or the folder cannot be written.
    """
    if isinstance(workdir, Address):
        logger.warning("%s cannot be locked: start no second training there", workdir)
        yield
        return
    if jax.process_index() != 0:
        yield
        return
    lock, owner = filelock.FileLock(workdir / ".lock"), workdir / ".lock.pid"
    new = [folder for folder in (workdir, *workdir.parents) if not folder.exists()]
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        number = ""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            number = f" (number {owner.read_text('utf-8').strip()})"
        raise UserError(
            f"{workdir}: another process{number} trains there: wait for it, stop it, or give "
            "another --workdir"
        ) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _UNSUPPORTED_LOCK:
            raise _not_writable(workdir, error) from error
        logger.warning("%s cannot be locked: start no second training there", workdir)
    with contextlib.suppress(OSError):  # A full disk: messages will lack the number.
        owner.write_text(f"{os.getpid()}\n", "utf-8")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            if new and {path.name for path in workdir.iterdir()} <= {".lock", "checkpoints"}:
                _remove_empty(new)
        lock.release()


def _remove_empty(folders: list[Path]) -> None:
    """Remove a workdir without checkpoints, the first of these folders, and those above it."""
    checkpoints = folders[0] / "checkpoints"
    if checkpoints.exists():
        checkpoints.rmdir()
    (folders[0] / ".lock").unlink(missing_ok=True)
    for folder in folders:
        folder.rmdir()


def _not_writable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be written ({error.strerror or error})")


class Workdir(contextlib.AbstractContextManager):
    """The checkpoints of one training run.

    Saving is asynchronous and atomic: Orbax writes a checkpoint under a temporary name and renames
    it, so that a process killed at any moment leaves the previous one complete.
    """

    def __init__(self, path: Path, *, keep: int = 2) -> None:
        """Open or create a workdir, which keeps so many newest checkpoints, and the best one.

        Raises:
            UserError: the folder cannot be written.
        """
        check_extra("train", "a training run")
        # Orbax takes a second to import.
        import orbax.checkpoint as ocp
        from orbax.checkpoint import checkpoint_managers

        path = as_path(path)
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable(path, error) from error

        # Orbax would remove these in the background, and collide with a manager opened soon after.
        if jax.process_index() == 0:
            for unfinished in self.path.glob("checkpoints/*.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished, ignore_errors=True)

        def psnr_of(metrics: dict[str, float]) -> float:
            return metrics["psnr"]

        policies = [
            checkpoint_managers.LatestN(keep),
            checkpoint_managers.BestN(
                get_metric_fn=psnr_of, n=1, keep_checkpoints_without_metrics=False
            ),
        ]
        self._args = ocp.args
        self._manager = ocp.CheckpointManager(
            self.path / "checkpoints",
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
                best_fn=psnr_of,  # Without it Orbax does not write the metrics.
            ),
        )

    def latest(self) -> int | None:
        """Return the step of the newest checkpoint."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """List the steps of the checkpoints, the newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def set_aside(self, step: int) -> list[Path]:
        """Move the checkpoints after a step out of the way; return where they are."""
        places = []
        for newer in [other for other in self.steps() if other > step]:
            places.append(self.path / f"damaged-{newer}")
            shutil.rmtree(places[-1], ignore_errors=True)  # Of an earlier time.
            (self.path / "checkpoints" / str(newer)).rename(places[-1])
        self._manager.reload()
        return places

    def best(self) -> int | None:
        """Return the step of the checkpoint with the best ``psnr``."""
        return self._manager.best_step()

    def save(
        self,
        step: int,
        experiment: Experiment,
        model: Any,
        training: Any,
        psnr: float | None,
        *,
        data: str = "",
    ) -> None:
        """Save in the background.

        Args:
            step: number of steps done.
            experiment: what is trained.
            model: the variables for inference.
            training: the other arrays that resuming needs.
            psnr: in dB, which ranks checkpoints.
            data: the training images, see `hyperfunc.data.ImageSource.identify`.

        Raises:
            UserError: this checkpoint, or the one before, cannot be written.
        """
        config = make_config(step, experiment, data)
        with self._writing():
            self._manager.save(
                step,
                args=self._args.Composite(
                    config=self._args.JsonSave(config),
                    model=self._args.StandardSave(model),
                    training=self._args.StandardSave(training),
                ),
                metrics=None if psnr is None else {"psnr": psnr},
                force=True,
            )

    def read_config(self, step: int) -> Config:
        """Read the experiment and the data of a checkpoint."""
        return read_config(self.path, step)

    def restore(self, step: int, model: Any, training: Any) -> tuple[Any, Any]:
        """Read a checkpoint to continue training: the two trees of arrays that `save` was given.

        ``model`` and ``training`` have a `jax.ShapeDtypeStruct` in place of each array.

        Raises:
            UserError: they cannot be read, or another version's optimiser wrote them.
        """
        variables = read_arrays(self.path, step, "model", model)
        try:
            return variables, read_arrays(self.path, step, "training", training)
        except UserError as error:
            raise UserError(
                f"{self.path}: the model of step {step} can be read, but not the optimiser state "
                f"({shorten(error.__cause__ or error)}); another version of hyperfunc may have "
                f"written it: continue in another --workdir with --run.start_from={self.path}"
            ) from error

    def close(self) -> None:
        """Wait until the checkpoints are written."""
        with self._writing():
            self._manager.wait_until_finished()
            self._manager.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what Orbax (OSError) and TensorStore (ValueError) raise into a `UserError`."""
        try:
            yield
        except (OSError, ValueError) as error:
            full = os.strerror(errno.ENOSPC)
            reason = full if full in str(error) else shorten(error)
            raise UserError(
                f"{self.path}: a checkpoint cannot be written ({reason}): if the disk is full, "
                "free some space; run again to continue from the newest complete checkpoint"
            ) from error

    def __exit__(self, *error: object) -> None:
        """Wait until the checkpoints are written, also after an error: they are good."""
        self.close()
