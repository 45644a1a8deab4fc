"""Trained models, loaded from a workdir or from the checkpoints that come with the package."""

import dataclasses
import hashlib
import logging
from pathlib import Path
from typing import Any, TypeVar, cast

import jax
import numpy as np

from hyperfunc.data import Task
from hyperfunc.errors import UserError
from hyperfunc.experiment.checkpoint_files import find_steps, read_arrays, read_config
from hyperfunc.experiment.config import Experiment
from hyperfunc.networks import Hypernetwork

BUNDLED = Path(__file__).parents[1] / "checkpoints"
"""The folder of the bundled checkpoints, one for each preset."""

T = TypeVar("T", bound=Task)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
        experiment: what was trained, and how.
        variables: the Flax variables for inference.
        step: number of steps that it was trained for.
        path: the workdir.
    """

    experiment: Experiment
    variables: Any
    step: int
    path: Path

    @property
    def hypernetwork(self) -> Hypernetwork:
        """The network, where a functional image is needed.

        Raises:
            UserError: it is a baseline, which makes none.
        """
        model = self.experiment.model
        scale = model.fixed_scale
        if scale is not None:
            raise UserError(
                f"{self.path} holds {type(model).__name__} for scale {scale} only, which makes no "
                "functional image: give the checkpoint of a hypernetwork"
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
        """A digest of the variables: results state with it which model they belong to."""
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(self.variables):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()[:16]


def init_variables(experiment: Experiment, key: jax.Array) -> Any:
    """Draw the variables of an experiment's model."""
    images = jax.numpy.zeros((1, *experiment.task.observed_size, 3))
    return experiment.model.init(key, images)


def load_model(path: str | Path, *, step: int | None = None) -> Model:
    """Load a model that computes in float32, also if it was trained in bfloat16.

    Args:
        path: a workdir, or one of its checkpoints (``WORKDIR/checkpoints/STEP``). A string may also
            be the name of a bundled checkpoint, which precedes a folder of the same name.
        step: step of the checkpoint; by default the newest one.

    Raises:
        UserError: there is no such checkpoint, or it is damaged, or another version wrote it.
    """
    workdir, step = _find_checkpoint(path, step)
    logger.info("loading the checkpoint of step %d in %s", step, workdir)
    experiment = read_config(workdir, step).experiment
    # A CPU takes nearly twice as long for bfloat16.
    experiment = dataclasses.replace(experiment, model=experiment.model.with_dtype("float32"))
    shapes = jax.eval_shape(lambda: init_variables(experiment, jax.random.key(0)))
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), shapes
    )
    return Model(experiment, read_arrays(workdir, step, "model", like), step, workdir)


def _find_checkpoint(path: str | Path, step: int | None) -> tuple[Path, int]:
    """Find the workdir and the step."""
    bundled = {folder.name for folder in BUNDLED.glob("*/")}
    is_bundled = isinstance(path, str) and path in bundled
    workdir = BUNDLED / path if is_bundled else Path(path)
    if not workdir.is_dir():
        names = ", ".join(sorted(bundled)) or "none"
        raise UserError(
            f"no checkpoint: {workdir} is not a folder; give that of a training run (train.py's "
            f"--workdir), or a name (bundled checkpoints: {names})"
        )
    if step is None and workdir.parent.name == "checkpoints" and workdir.name.isdigit():
        step, workdir = int(workdir.name), workdir.parent.parent
    steps = find_steps(workdir)
    if not steps:
        raise UserError(
            f"{workdir} holds no checkpoint: give a folder in which train.py (its --workdir) has "
            "saved one"
        )
    if step is not None and step not in steps:
        raise UserError(f"{workdir} holds no checkpoint of step {step}: it has {steps}")
    return workdir, steps[-1] if step is None else step
