"""An experiment: a tree of components, each of which is its own configuration.

Flax modules, target networks, tasks and the optimiser are frozen dataclasses whose fields are their
hyperparameters, so an experiment is a dataclass of such dataclasses. `to_dict` and `from_dict` turn
it into plain data and back: a checkpoint stores these data, and they suffice to rebuild the model.
"""

import dataclasses
import math
import typing
from typing import Any, Literal

import cattrs
import flax.linen as nn
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from hyperfunc.data import SuperResolution, Task
from hyperfunc.errors import UserError, check_range
from hyperfunc.experiment.losses import Loss
from hyperfunc.experiment.optimizers import Optimizer
from hyperfunc.networks import Backbone, FixedScale, Hypernetwork, PixelHypernetwork, Target

Network = Hypernetwork | FixedScale
"""What can be trained."""

MAX_NUMBER = 1 << 16
"""The largest number, up to its sign, that `from_plain` accepts."""

MAX_ITEMS = 64
"""The longest list that `from_plain` accepts."""


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
        """Check that the components fit each other."""
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
        return _structure(data, Experiment, "experiment")
    except ValueError as error:
        raise UserError(
            f"this version of hyperfunc knows no such experiment ({error}): "
            "use the version that wrote it"
        ) from error


def to_plain(component: Any, kind: Any) -> dict[str, Any]:
    """Turn a component into plain data (JSON types).

    Args:
        component: a dataclass, such as a target network or a window layout.
        kind: its class; or the union that it belongs to, such as `Target`: the data then name the
            class as "type".

    Raises:
        ValueError: the component, or one inside it, does not belong to its union.
    """
    return _CONVERTER.unstructure(component, kind)


def from_plain(data: Any, kind: Any, *, name: str = "data") -> Any:
    """Rebuild a component from plain data of unknown origin, such as a file from the internet.

    Every value must have the type of its field; nothing is converted. Numbers and lists are limited
    to `MAX_NUMBER` and `MAX_ITEMS`, so that a file cannot ask for any amount of memory.

    Args:
        data: what `to_plain` returned.
        kind: the class or the union that `to_plain` was given.
        name: what to call the data in error messages.

    Raises:
        ValueError: a field is unknown, or a value is refused. The message is one line.
    """
    _check_limits(data, name)
    return _structure(data, kind, name)


def _check_limits(data: Any, name: str) -> None:
    if isinstance(data, dict):
        for key, value in data.items():
            _check_limits(value, f"{name}.{key}")
    elif isinstance(data, list):
        if len(data) > MAX_ITEMS:
            raise ValueError(f"{name}: a list of {len(data)} items; at most {MAX_ITEMS} are read")
        for value in data:
            _check_limits(value, name)
    elif isinstance(data, (int, float)) and not -MAX_NUMBER <= data <= MAX_NUMBER:
        raise ValueError(f"{name}: {data} is not between -{MAX_NUMBER} and {MAX_NUMBER}")


def _structure(data: Any, kind: Any, name: str) -> Any:
    """Build `kind` from plain data; all that is wrong with them becomes one `ValueError`."""
    if not isinstance(data, dict):
        raise ValueError(f"{name}: {data!r:.80} is no mapping from fields to values")
    try:
        return _CONVERTER.structure(data, kind)
    except (cattrs.BaseValidationError, ValueError) as error:
        reasons = cattrs.transform_error(error, path=name, format_exception=_explain)
        raise ValueError("; ".join(reasons)) from error


def _explain(error: BaseException, kind: Any) -> str:
    """Say in one line what is wrong with a value."""
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return cattrs.v.format_exception(error, kind)
    return str(error)


def _structure_value(value: Any, kind: type) -> Any:
    """Accept an integer as a float, and convert nothing else: "3", 3.7 and True are no integers."""
    is_accepted = type(value) is kind or (kind is float and type(value) is int)
    if not is_accepted:
        wanted = {bool: "true or false", int: "an integer", float: "a number", str: "text"}[kind]
        raise ValueError(f"{value!r:.80} is not {wanted}")
    return kind(value)


def _structure_choice(value: Any, kind: Any) -> Any:
    choices = typing.get_args(kind)
    if value not in choices:
        raise ValueError(f"{value!r:.80} is none of {', '.join(map(repr, choices))}")
    return value


def _tag_union(union: Any, converter: cattrs.Converter) -> None:
    """Let plain data name the class of a component as "type".

    `cattrs.strategies.configure_tagged_union` does the same, but its errors name Python's internals
    where the data are damaged.
    """
    classes = {cls.__name__: cls for cls in typing.get_args(union)}

    def structure(data: Any, _: Any) -> Any:
        if not isinstance(data, dict) or "type" not in data:
            raise ValueError(f"{data!r:.80} names no type: give one of {', '.join(classes)}")
        fields = dict(data)
        name = fields.pop("type")
        if not isinstance(name, str) or name not in classes:
            raise ValueError(f"the type {name!r:.80} is none of {', '.join(classes)}")
        return converter.structure(fields, classes[name])

    def unstructure(component: Any) -> dict[str, Any]:
        cls = type(component)
        if cls not in classes.values():
            raise ValueError(
                f"a checkpoint cannot name the class {cls.__name__}: add it to the union at the "
                f"end of the module that defines {', '.join(classes)}"
            )
        return {"type": cls.__name__, **converter.unstructure(component, cls)}

    converter.register_structure_hook(union, structure)
    converter.register_unstructure_hook(union, unstructure)


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _structure_value)
    converter.register_structure_hook_func(
        lambda kind: typing.get_origin(kind) is Literal, _structure_choice
    )
    linens_own: Any = {"parent": override(omit=True), "name": override(omit=True)}

    def is_module(cls: Any) -> bool:
        return isinstance(cls, type) and issubclass(cls, nn.Module)

    converter.register_unstructure_hook_factory(
        is_module, lambda cls: make_dict_unstructure_fn(cls, converter, **linens_own)
    )
    converter.register_structure_hook_factory(
        is_module,
        lambda cls: make_dict_structure_fn(
            cls, converter, _cattrs_forbid_extra_keys=True, **linens_own
        ),
    )
    for union in (Backbone, Target, Network, Task):
        _tag_union(union, converter)
    return converter


_CONVERTER = _make_converter()
