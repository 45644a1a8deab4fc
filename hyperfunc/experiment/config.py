"""An experiment: a tree of components, each of which is its own configuration.

Flax modules, target networks, tasks and the optimiser are frozen dataclasses whose fields are their
hyperparameters, so an experiment is a dataclass of such dataclasses. `to_dict` and `from_dict` turn
it into plain data and back: a checkpoint stores these data, and they suffice to rebuild the model.
"""

import dataclasses
import math
from typing import Any

from hyperfunc.data import SuperResolution, Task
from hyperfunc.errors import UserError, check_range
from hyperfunc.experiment.losses import Loss
from hyperfunc.experiment.optimizers import Optimizer
from hyperfunc.experiment.plain_data import Network, structure, tag_union, to_plain
from hyperfunc.networks import PixelHypernetwork


@dataclasses.dataclass(frozen=True)
class Data:
    """The data of a training run.

    Attributes:
        dataset: name or path of the training images, see `hyperfunc.data.open_dataset`.
        batch_size: examples per step, over all devices and processes.
        validation: share of the training images that is held out for validation, 0 to 0.5.
        weights: pairs (folder of the dataset, weight). The weight multiplies how often the folder's
            pixels are drawn; folders that are not listed have weight 1.
        threads: number of threads that prepare examples.
        resident: keep the images in the memory of the devices and make the examples there. For
            accelerators, which outpace the host; for super-resolution only.
    """

    dataset: str = "train"
    batch_size: int = 16
    validation: float = 0.04
    weights: tuple[tuple[str, float], ...] = ()
    threads: int = 2
    resident: bool = False

    def __post_init__(self) -> None:
        check_range(self, "batch_size", least=1)
        check_range(self, "threads", least=0)
        check_range(self, "validation", least=0, most=0.5)
        folders = [folder for folder, _ in self.weights]
        for folder, weight in self.weights:
            if folders.count(folder) > 1:
                raise ValueError(f"weights name {folder} more than once: give it one weight")
            if not 0 < weight < math.inf:
                raise ValueError(f"a weight of {weight} for {folder}: give a positive number")


@dataclasses.dataclass(frozen=True)
class Run:
    """How long to train, and what to write when. Intervals are in steps.

    Attributes:
        steps: length of the run; the schedule of the learning rate ends with it.
        seed: seed of the initial parameters and of the data.
        start_from: workdir, or name of a bundled checkpoint, whose averaged parameters become the
            initial ones; "" draws them. The preset sr_finetune has learning rates for this.
        loss: the loss to minimise.
        ema: decay of the moving average of the parameters, which is what gets evaluated, in [0, 1).
            It warms up, so that the average soon forgets the initial parameters.
        log_every: interval of metrics on the console, in metrics.jsonl and in TensorBoard.
        save_every: interval of checkpoints.
        keep: number of newest checkpoints to keep; the best one is kept besides.
        validate_every: interval of measuring the PSNR of the held-out images.
        shard_parameters: divide the parameters and the optimiser state over the devices.
    """

    steps: int = 9_000
    seed: int = 0
    start_from: str = ""
    loss: Loss = "l1"
    ema: float = 0.999
    log_every: int = 50
    save_every: int = 500
    keep: int = 2
    validate_every: int = 1_000
    shard_parameters: bool = False

    def __post_init__(self) -> None:
        intervals = ("log_every", "save_every", "keep", "validate_every")
        check_range(self, "steps", *intervals, least=1)
        check_range(self, "seed", least=0, most=2**32 - 1)
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema {self.ema}: give a decay in [0, 1)")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that defines a training run.

    Attributes:
        model: the hypernetwork with its backbone and target network, or a baseline.
        task: how an image becomes a training example.
        data: the training images and the batches made of them.
        optimizer: the update rule and its learning rates.
        run: length of the run, loss, and intervals of logging, saving and validating.
    """

    model: Network = dataclasses.field(default_factory=PixelHypernetwork)
    task: Task = dataclasses.field(default_factory=SuperResolution)
    data: Data = dataclasses.field(default_factory=Data)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    run: Run = dataclasses.field(default_factory=Run)

    def __post_init__(self) -> None:
        self.task.check_model(self.model)
        if self.data.resident:
            self.task.check_resident()


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """Turn an experiment into plain data (JSON types).

    Raises:
        ValueError: a component belongs to none of the unions that a checkpoint can name.
    """
    return to_plain(experiment, Experiment)


def from_dict(data: dict[str, Any]) -> Experiment:
    """Rebuild an experiment from plain data. Fields that are missing get their defaults.

    Raises:
        UserError: the data do not describe an experiment of this version of hyperfunc.
    """
    try:
        return structure(_nest_jpeg(data), Experiment, "experiment")
    except ValueError as error:
        raise UserError(
            f"this version of hyperfunc knows no such experiment ({error}): "
            "use the version that wrote it"
        ) from error


def _nest_jpeg(data: Any) -> Any:
    """Move the field ``jpeg``, which tasks had in version 0.1, to the task's degradation."""
    task = data.get("task") if isinstance(data, dict) else None
    if not isinstance(task, dict) or "jpeg" not in task:
        return data
    rest = {name: value for name, value in task.items() if name != "jpeg"}
    return {**data, "task": {**rest, "degradation": {"jpeg": task["jpeg"]}}}


tag_union(Task)
