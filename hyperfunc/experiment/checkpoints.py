"""Trained models: loaded from a workdir, a folder of two files or the package, and exported."""

import dataclasses
import functools
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.experiment.exported import (
    Exported,
    find_folder,
    is_exported,
    read_exported,
    read_variables,
    write_exported,
)
from hyperfunc.types import Neighbourhood

if TYPE_CHECKING:
    from hyperfunc.experiment.config import Experiment
    from hyperfunc.experiment.plain_data import Network
    from hyperfunc.networks import Hypernetwork

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model. Its network is built when it is first used, which imports Flax.

    Attributes:
        description: what was trained, and how, as plain data (see `hyperfunc.experiment.to_dict`).
        variables: the Flax variables for inference.
        step: number of steps that it was trained for.
        path: the folder that it was read from.
        reads: what a hypernetwork with a window per pixel reads around one; None for others.
    """

    description: dict[str, Any]
    variables: Any
    step: int
    path: Path
    reads: Neighbourhood | None

    @classmethod
    def of_experiment(
        cls, experiment: "Experiment", variables: Any, *, step: int, path: Path
    ) -> "Model":
        """Make a model of an experiment and the variables of its network."""
        from hyperfunc.experiment.config import to_dict

        network = experiment.model
        reads = None if network.fixed_scale is not None else cast("Hypernetwork", network).reads
        return cls(to_dict(experiment), variables, step, path, reads)

    @functools.cached_property
    def network(self) -> "Network":
        """The network, which computes in float32.

        Raises:
            UserError: this version of hyperfunc does not know it.
        """
        from hyperfunc.experiment.plain_data import Network, structure

        try:
            network = structure(self.description["model"], Network, "experiment.model")
        except ValueError as error:
            raise UserError(
                f"{self.path}, step {self.step}: this version of hyperfunc knows no such network "
                f"({error}): use the version that wrote it"
            ) from error
        return network.with_dtype("float32")  # A CPU takes nearly twice as long for bfloat16.

    @functools.cached_property
    def experiment(self) -> "Experiment":
        """What was trained, and how; the model computes in float32.

        Raises:
            UserError: this version of hyperfunc does not know it.
        """
        from hyperfunc.experiment.config import from_dict

        try:
            experiment = from_dict(self.description)
        except UserError as error:
            raise UserError(f"{self.path}, step {self.step}: {error}") from error
        return dataclasses.replace(experiment, model=self.network)

    @property
    def hypernetwork(self) -> "Hypernetwork":
        """The network, where a functional image is needed.

        Raises:
            UserError: it is a baseline, which makes none.
        """
        model = self.network
        scale = model.fixed_scale
        if scale is not None:
            raise UserError(
                f"{self.path} holds {type(model).__name__} for scale {scale} only, which makes no "
                "functional image: give the checkpoint of a hypernetwork"
            )
        return cast("Hypernetwork", model)

    def check_task(self, kind: str) -> None:
        """Check that the model was trained for a task: "SuperResolution" or "Reconstruction".

        Raises:
            UserError: it was trained for another one.
        """
        task = self.description.get("task", {}).get("type", "SuperResolution")
        if task != kind:
            raise UserError(
                f"{self.path} was trained for {task}, not for {kind}: give the checkpoint of a "
                f"preset for {kind}"
            )

    @property
    def fills(self) -> bool:
        """Whether the model reads images with missing pixels, and changes nothing else."""
        return self.description["model"].get("base") == "filled"

    def check_filling(self) -> None:
        """Check that the model reads images with missing pixels.

        Raises:
            UserError: it does not.
        """
        if not self.fills:
            raise UserError(
                f"{self.path} does not fill missing pixels: give a checkpoint such as inpaint"
            )

    def with_strength(self, strength: float) -> "Model":
        """Return a model that changes its input by ``strength`` times as much, between 0 and 1.

        Its functions are linear in what the last layers emit, and these in their own variables.

        Raises:
            UserError: the model does not restore: it corrects no base.
        """
        params = self.variables["params"]
        if "correction" not in params or not self.hypernetwork.target.is_linear:
            raise UserError(
                f"{self.path} restores nothing that a strength could weaken: give a checkpoint "
                "such as restore"
            )
        emitting = {name: params[name] for name in ("branch", "correction")}
        weaker = jax.tree.map(lambda leaf: strength * leaf, emitting)
        return dataclasses.replace(self, variables={**self.variables, "params": params | weaker})

    @property
    def fingerprint(self) -> str:
        """A digest of the variables: results state with it which model they belong to."""
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(self.variables):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()[:16]


def init_variables(experiment: "Experiment", key: jax.Array) -> Any:
    """Draw the variables of an experiment's model."""
    images = jax.numpy.zeros((1, *experiment.task.observed_size, 3))
    return experiment.model.init(key, images)


def load_model(path: str | Path, *, step: int | None = None) -> Model:
    """Load a model that computes in float32, also if it was trained in bfloat16.

    Args:
        path: the folder of an exported model, a workdir, or one of its checkpoints
            (``WORKDIR/checkpoints/STEP``). A string may also be the name of a bundled model, which
            precedes a folder of the same name.
        step: step of the checkpoint; by default the newest one.

    Raises:
        UserError: there is no such checkpoint, or it is damaged, or another version wrote it.
    """
    folder, is_bundled = find_folder(path)
    if not is_exported(folder):
        return _load_checkpoint(folder, step)
    exported = read_exported(folder)
    if step not in (None, exported.step):
        raise UserError(f"{folder} holds no checkpoint of step {step}: it has [{exported.step}]")
    logger.info("loading the model of step %d in %s", exported.step, folder)
    variables = jax.device_put(read_variables(folder), jax.local_devices()[0])
    model = Model(exported.experiment, variables, exported.step, folder, exported.reads)
    if not is_bundled:
        _check_variables(model)
    return model


def _load_checkpoint(workdir: Path, step: int | None) -> Model:
    from hyperfunc.experiment.checkpoint_files import read_arrays, read_config
    from hyperfunc.experiment.mirror import fetching_model

    workdir, step = _find_step(workdir, step)
    logger.info("loading the checkpoint of step %d in %s", step, workdir)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    with fetching_model(workdir, step) as folder:
        experiment = read_config(folder, step).experiment
        model = Model.of_experiment(experiment, {}, step=step, path=workdir)
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
            _shapes(model),
        )
        return dataclasses.replace(model, variables=read_arrays(folder, step, "model", like))


def _shapes(model: Model) -> Any:
    return jax.eval_shape(lambda: init_variables(model.experiment, jax.random.key(0)))


def _check_variables(model: Model) -> None:
    def describe(tree: Any) -> list[tuple[str, tuple[int, ...], str]]:
        return [
            (jax.tree_util.keystr(path, simple=True, separator="."), leaf.shape, leaf.dtype.name)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        ]

    different = sorted(set(describe(model.variables)) ^ set(describe(_shapes(model))))
    if different:
        raise UserError(
            f"{model.path}: the weights are not those of the experiment ({different[0][0]}): "
            "export the model again"
        )


def _find_step(workdir: Path, step: int | None) -> tuple[Path, int]:
    """Find the workdir, which may be given by one of its checkpoints, and the step."""
    from hyperfunc.experiment.checkpoint_files import find_steps

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


def write_model(model: Model, destination: Path) -> None:
    """Write what inference needs of a model; `load_model` reads it.

    Raises:
        UserError: the folder cannot be written.
    """
    from hyperfunc.experiment.config import to_dict

    run = dataclasses.replace(model.experiment.run, start_from="")  # A path on this machine.
    experiment = to_dict(dataclasses.replace(model.experiment, run=run))
    exported = Exported.of(model.step, experiment, model.reads)
    write_exported(destination, exported, model.variables)
