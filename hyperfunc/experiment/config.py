"""An experiment: a tree of components, each of which is its own configuration.

Flax modules, target networks, tasks and the optimiser are frozen dataclasses whose fields are their
hyperparameters, so an experiment is simply a dataclass of them. `to_dict` and `from_dict` turn it
into plain data and back; a checkpoint carries that, and needs nothing else to rebuild the model.
"""

import dataclasses
import math
from typing import Any

import cattrs
import flax.linen as nn
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.strategies import configure_tagged_union

from hyperfunc.data import Reconstruction, SuperResolution, Task
from hyperfunc.errors import UserError, check_range
from hyperfunc.experiment.losses import Loss
from hyperfunc.experiment.optimizers import Optimizer
from hyperfunc.networks import Backbone, FixedScale, Hypernetwork, PixelHypernetwork, Target

Network = Hypernetwork | FixedScale
"""What can be trained."""


@dataclasses.dataclass(frozen=True)
class Data:
    """What to train on.

    Attributes:
        dataset: a name or a folder, see `hyperfunc.data.datasets.open_dataset`.
        batch_size: examples in a step, over all devices and processes.
        validation: part of the training images that is held out.
        weights: a folder of the dataset, and how often its pixels are drawn against those of other
            folders; pairs, 1 for folders that are not named.
        threads: that prepare examples.
        resident: keep the images on the devices and make examples there: for accelerators, which a
            host cannot feed. For super-resolution.
    """

    dataset: str = "train"
    batch_size: int = 16
    validation: float = 0.04
    weights: tuple[tuple[str, float], ...] = ()
    threads: int = 2
    resident: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
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
        steps: length of the run; the learning rate's schedule ends with it.
        seed: of parameters and data.
        start_from: a workdir, or the name of a bundled checkpoint, whose (averaged) parameters are
            the initial ones ("" draws them); the preset sr_finetune has rates for it.
        loss: what is minimised.
        ema: decay of the moving average of the parameters, which is what is evaluated; it warms
            up, so that a short run is not held back by its first steps.
        log_every: to the console, metrics.jsonl and TensorBoard.
        save_every: checkpoints.
        keep: so many of the newest checkpoints are kept, and the best one.
        validate_every: PSNR of held-out images.
        shard_parameters: divide the parameters and the optimiser's state over the devices.
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
        """Check the ranges."""
        intervals = ("log_every", "save_every", "keep", "validate_every")
        check_range(self, "steps", *intervals, least=1)
        check_range(self, "seed", least=0, most=2**32 - 1)
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema {self.ema}: give a decay in [0, 1)")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that defines a training run.

    Attributes:
        model: the hypernetwork, with its backbone and target network; or a baseline.
        task: what is learned.
        data: what it is learned from.
        optimizer: how.
        run: for how long.
    """

    model: Network = dataclasses.field(default_factory=PixelHypernetwork)
    task: Task = dataclasses.field(default_factory=SuperResolution)
    data: Data = dataclasses.field(default_factory=Data)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    run: Run = dataclasses.field(default_factory=Run)

    def __post_init__(self) -> None:
        """Check that the model can learn the task."""
        if isinstance(self.model, FixedScale) and (
            not isinstance(self.task, SuperResolution)
            or self.task.scales != (self.model.scale,)
            or self.task.protocol_phase != 1
        ):
            raise ValueError(
                f"{type(self.model).__name__} is for scale {self.model.scale} alone: set "
                f"--task.scales {self.model.scale} and --task.protocol_phase 1"
            )
        if isinstance(self.task, Reconstruction) and self.task.stride > 1:
            target = getattr(self.model, "target", None)
            if self.model.base != "none" or getattr(target, "footprint", True):
                raise ValueError(
                    f"stride {self.task.stride}: skipping pixels would change the footprint that a "
                    "base or the target network is asked for: set --task.stride=1"
                )
        if self.data.resident and not isinstance(self.task, SuperResolution):
            raise ValueError("--data.resident=True makes examples of super-resolution only")
        if self.data.resident and isinstance(self.task, SuperResolution) and self.task.jpeg:
            raise ValueError(
                f"--task.jpeg {self.task.jpeg}: examples are compressed on the host only: give "
                "--data.resident=False"
            )


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """Turn an experiment into plain data (JSON types).

    Raises:
        ValueError: a component is none that can be stored.
    """
    try:
        return _CONVERTER.unstructure(experiment, Experiment)
    except KeyError as error:
        name = getattr(error.args[0], "__name__", error.args[0])
        raise ValueError(
            f"{name} is no component that a checkpoint can name: add it to the union at the foot "
            "of its module, such as Backbone in hyperfunc/networks/backbones.py"
        ) from error


def from_dict(data: dict[str, Any]) -> Experiment:
    """Rebuild an experiment.

    Raises:
        UserError: the data are not those of an experiment of this version of hyperfunc.
    """
    try:
        return _CONVERTER.structure(data, Experiment)
    except Exception as error:
        reasons = "; ".join(
            cattrs.transform_error(error, path="experiment", format_exception=_explain)
        )
        raise UserError(
            f"this is no experiment that this version of hyperfunc knows ({reasons}): "
            "use the version that wrote it"
        ) from error


def _explain(error: BaseException, kind: Any) -> str:
    """Say what is wrong with a value."""
    if isinstance(error, KeyError):  # Of a tagged union; everything else has a default.
        name = error.args[0]
        return "its type is not given" if name == "type" else f"there is no {name}"
    if isinstance(error, cattrs.errors.ForbiddenExtraKeysError):
        return cattrs.v.format_exception(error, kind)
    return str(error)


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    hidden: Any = {"parent": override(omit=True), "name": override(omit=True)}  # Linen's own.

    def modules(cls: Any) -> bool:
        return isinstance(cls, type) and issubclass(cls, nn.Module)

    converter.register_unstructure_hook_factory(
        modules, lambda cls: make_dict_unstructure_fn(cls, converter, **hidden)
    )
    converter.register_structure_hook_factory(
        modules,
        lambda cls: make_dict_structure_fn(
            cls, converter, _cattrs_forbid_extra_keys=True, **hidden
        ),
    )
    for union in (Backbone, Target, Network, Task):
        configure_tagged_union(union, converter, tag_name="type")
    return converter


_CONVERTER = _make_converter()
