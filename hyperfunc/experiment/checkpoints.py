"""Checkpoints: the only file that imports Orbax.

A *workdir* holds numbered checkpoints of three items:

- ``config``: the experiment as plain data, the step, and a format version;
- ``model``: what inference needs: the averaged parameters (and batch statistics);
- ``training``: what resuming needs besides.

A checkpoint that is *bundled* with the package is a workdir with a single step and no
``training``, so one loader serves both.
"""

import contextlib
import dataclasses
import hashlib
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from hyperfunc.data import Task
from hyperfunc.errors import UserError
from hyperfunc.experiment.config import Experiment, from_dict, to_dict
from hyperfunc.networks import Hypernetwork

T = TypeVar("T", bound=Task)

FORMAT = 1
"""Version of the layout above; raised when an older reader would misunderstand it."""

_ABANDONED = ("Event loop is closed", "was never awaited", "Encountered error while reading")
"""What reads that were given up report."""

BUNDLED = Path(__file__).parents[1] / "checkpoints"
"""Checkpoints inside the package, by preset."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model, ready for `hyperfunc.function.functional_image.encode`."""

    experiment: Experiment
    variables: Any
    step: int
    path: Path

    @property
    def hypernetwork(self) -> Hypernetwork:
        """The model, where a functional image is needed.

        Raises:
            UserError: it is a baseline, which has none.
        """
        model = self.experiment.model
        scale = model.fixed_scale
        if scale is not None:
            raise UserError(
                f"{self.path} holds {type(model).__name__} for scale {scale} alone, which "
                "makes no functional image: give the checkpoint of a hypernetwork"
            )
        return cast(Hypernetwork, model)

    def check_task(self, kind: type[T]) -> T:
        """Return the task that the model was trained for.

        Raises:
            UserError: it is of another kind.
        """
        task = self.experiment.task
        if not isinstance(task, kind):
            raise UserError(
                f"{self.path} was trained for {type(task).__name__}, not for {kind.__name__}: give "
                f"the checkpoint of a preset for {kind.__name__}"
            )
        return task

    @property
    def fingerprint(self) -> str:
        """Identifies the parameters, so that numbers can say which model they belong to."""
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(self.variables):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()[:16]


@contextlib.contextmanager
def claiming(workdir: Path) -> Iterator[None]:
    """Keep other processes from training in a workdir; the main one of several does so for all.

    Raises:
        UserError: another process does, or the place cannot be written to.
    """
    import fcntl  # Which Windows lacks, where pictures can be enlarged all the same.

    with contextlib.ExitStack() as stack:
        if jax.process_index() == 0:
            try:
                workdir.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((workdir / ".lock").open("a+"))
            except OSError as error:
                raise _not_writable(workdir, error) from error
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise UserError(
                    f"{workdir}: another process (number {file.read().strip()}) trains there: wait "
                    "for it, stop it, or give another --workdir"
                ) from None
            except OSError:  # A file system without locks.
                pass
            with contextlib.suppress(OSError):  # On a full disk the number is missing.
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield


def _not_writable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be written ({error.strerror or error})")


class Workdir:
    """The checkpoints of one training run.

    Saving is asynchronous and atomic: a checkpoint is written beside and renamed, so that a process
    killed at any moment leaves the previous one whole.
    """

    def __init__(self, path: Path, *, keep: int = 2) -> None:
        """Open or create a workdir; keeps the ``keep`` newest checkpoints and the best one.

        Raises:
            UserError: the place cannot be written to.
        """
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable(path, error) from error

        # Orbax would do this in the background, where two openings in a row disturb each other.
        if jax.process_index() == 0:
            for remains in self.path.glob("checkpoints/*.orbax-checkpoint-tmp*"):
                shutil.rmtree(remains, ignore_errors=True)

        def psnr_of(metrics: dict[str, float]) -> float:
            return metrics["psnr"]

        policies = [
            checkpoint_managers.LatestN(keep),
            checkpoint_managers.BestN(
                get_metric_fn=psnr_of, n=1, keep_checkpoints_without_metrics=False
            ),
        ]
        self._manager = ocp.CheckpointManager(
            self.path / "checkpoints",
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
                best_fn=psnr_of,  # Without it metrics are not written, and lost to a resumed run.
            ),
        )

    def latest(self) -> int | None:
        """Step of the newest checkpoint."""
        return self._manager.latest_step()

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
            step: after which the state is saved.
            experiment: what is trained.
            model: the variables for inference.
            training: what else it takes to go on.
            psnr: of held-out images (dB); ranks checkpoints.
            data: what has been trained on, see `hyperfunc.data.datasets.ImageSource.identify`.

        Raises:
            UserError: this checkpoint, or the one before, cannot be written.
        """
        config = {"format": FORMAT, "step": step, "experiment": to_dict(experiment), "data": data}
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    config=ocp.args.JsonSave(config),
                    model=ocp.args.StandardSave(model),
                    training=ocp.args.StandardSave(training),
                ),
                metrics=None if psnr is None else {"psnr": psnr},
                force=True,
            )

    def restore_experiment(self, step: int) -> Experiment:
        """Read the experiment that wrote a checkpoint."""
        return _read_config(self.path, step)[0]

    def restore_data(self, step: int) -> str:
        """Read what a checkpoint has been trained on; "" if it does not say."""
        return _read_config(self.path, step)[1]

    def best(self) -> int | None:
        """Step of the checkpoint with the best ``psnr``."""
        return self._manager.best_step()

    def restore(self, step: int, model: Any, training: Any) -> tuple[Any, Any]:
        """Read (model, training) into abstract arrays, with their shapes and shardings.

        Raises:
            UserError: they cannot be read, or are of another version's optimiser.
        """
        try:
            with _reading(self.path, step):
                restored = self._manager.restore(
                    step,
                    args=ocp.args.Composite(
                        model=ocp.args.StandardRestore(model),
                        training=ocp.args.StandardRestore(training),
                    ),
                )
        except UserError as error:
            load_model(self.path, step=step)  # Raises if the model is damaged, too.
            raise UserError(
                f"{self.path}: the model of step {step} is there, and the optimiser's state cannot "
                "be read; another version of hyperfunc may have written it: go on in another "
                f"--workdir with --run.start_from={self.path}"
            ) from error
        return restored["model"], restored["training"]

    def close(self) -> None:
        """Wait for what is being written.

        Raises:
            UserError: it cannot be written.
        """
        with self._writing():
            self._manager.wait_until_finished()
            self._manager.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn whatever Orbax raises, in time or later, where a disk is full into a `UserError`."""
        try:
            yield
        except Exception as error:
            raise UserError(
                f"{self.path}: a checkpoint cannot be written ({_reason(error)}): if the disk is "
                "full make room, and run again, which goes on from the newest one that is whole"
            ) from error

    def __enter__(self) -> "Workdir":
        """Use as a context."""
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for what is being written, also after an error: it is good."""
        self.close()


def load_model(path: str | Path, *, step: int | None = None) -> Model:
    """Load a model from a workdir, to compute in float32: bfloat16 is for accelerators to train in.

    Args:
        path: a workdir, or one of its checkpoints (``WORKDIR/checkpoints/STEP``); or, as a string,
            the name of a bundled checkpoint, which goes before a folder of the same name.
        step: which checkpoint; the newest if not given.

    Raises:
        UserError: there is none, or it is damaged, or another version wrote it.
    """
    bundled = {folder.name for folder in BUNDLED.glob("*/")}
    is_bundled = isinstance(path, str) and path in bundled
    folder = BUNDLED / path if is_bundled else Path(path)
    if not folder.is_dir():
        names = ", ".join(sorted(bundled)) or "none"
        raise UserError(
            f"no checkpoint: {folder} is not a folder; give that of a training run (train.py's "
            f"--workdir), or a name (bundled checkpoints: {names})"
        )
    if step is None and folder.parent.name == "checkpoints" and folder.name.isdigit():
        step, folder = int(folder.name), folder.parent.parent
    steps = sorted(int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdigit())
    if not steps:
        raise UserError(
            f"{folder} holds no checkpoint: give a folder in which train.py (its --workdir) has "
            "saved one"
        )
    step = steps[-1] if step is None else step
    if step not in steps:
        raise UserError(f"{folder} holds no checkpoint of step {step}: it has {steps}")
    logger.info("loading the checkpoint of step %d in %s", step, folder)
    experiment, _ = _read_config(folder, step)
    experiment = dataclasses.replace(experiment, model=experiment.model.with_dtype("float32"))
    abstract = jax.eval_shape(lambda: init_variables(experiment, jax.random.key(0)))
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), abstract
    )
    with _reading(folder, step), ocp.StandardCheckpointer() as checkpointer:
        variables = checkpointer.restore(_item(folder, step, "model"), abstract)
    return Model(experiment, variables, step, folder)


def export_model(workdir: Path, destination: Path, *, step: int | None = None) -> None:
    """Write what inference needs of a checkpoint as a workdir of its own, to ship it."""
    model = load_model(workdir, step=step)
    manager = ocp.CheckpointManager(destination.absolute() / "checkpoints")
    run = dataclasses.replace(model.experiment.run, start_from="")  # A path of this machine.
    experiment = dataclasses.replace(model.experiment, run=run)
    config = {"format": FORMAT, "step": model.step, "experiment": to_dict(experiment)}
    manager.save(
        model.step,
        args=ocp.args.Composite(
            config=ocp.args.JsonSave(config), model=ocp.args.StandardSave(model.variables)
        ),
    )
    manager.wait_until_finished()
    manager.close()
    for path in destination.rglob("commit_success.txt"):
        path.unlink()  # It names a folder of this machine, and only object stores need it.


def init_variables(experiment: Experiment, key: jax.Array) -> Any:
    """Draw the variables of an experiment's model."""
    images = jax.numpy.zeros((1, *experiment.task.observed_size, 3))
    return experiment.model.init(key, images)


def _read_config(folder: Path, step: int) -> tuple[Experiment, str]:
    """Read the experiment, and what it was trained on."""
    with _reading(folder, step), ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
        config = checkpointer.restore(_item(folder, step, "config"))
    if config.get("format") != FORMAT:
        raise UserError(
            f"{folder}, step {step}: its format is {config.get('format')!r} and this version of "
            f"hyperfunc reads {FORMAT}: use the version that wrote it"
        )
    try:
        return from_dict(config["experiment"]), config.get("data", "")
    except UserError as error:
        raise UserError(f"{folder}, step {step}: {error}") from error


def _reason(error: Exception) -> str:
    """An exception of Orbax, whose messages are long, in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _item(folder: Path, step: int, item: str) -> Path:
    return folder.absolute() / "checkpoints" / str(step) / item


@contextlib.contextmanager
def _reading(folder: Path, step: int) -> Iterator[None]:
    """Turn whatever Orbax raises on damaged files into a `UserError`."""
    hook = sys.unraisablehook

    def drop_abandoned(unraisable: Any) -> None:
        if not any(text in str(unraisable.exc_value) for text in _ABANDONED):
            hook(unraisable)

    # When one array cannot be read, the reads of the others report, now or in a moment, that nobody
    # listens any more: hook and filter stay then, so that no traceback spoils the one line.
    sys.unraisablehook = drop_abandoned
    try:
        yield
    except Exception as error:
        warnings.filterwarnings("ignore", f".*{_ABANDONED[1]}", RuntimeWarning)
        raise UserError(
            f"{folder}: the checkpoint of step {step} cannot be read ({_reason(error)}): "
            "remove that step to go on from an earlier one, or train again in another folder"
        ) from error
    sys.unraisablehook = hook
