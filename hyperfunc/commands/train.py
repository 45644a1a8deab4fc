"""``hyperfunc train`` and ``python train.py``: train a model.

python train.py --workdir=runs/sr --data_dir=DATA
python train.py --workdir=runs/faces --preset=faces --run.steps=20000
"""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hyperfunc.cache import keep_compilations
from hyperfunc.commands.arguments import (
    Common,
    CommonFlags,
    OptionalPath,
    check_apart,
    parse_arguments,
)
from hyperfunc.commands.running import run_command
from hyperfunc.devices import join_processes, make_mesh, use_cpu_cores
from hyperfunc.errors import UserError
from hyperfunc.experiment import PRESETS, Experiment

if TYPE_CHECKING:
    Preset = str
else:
    Preset = tyro.extras.literal_type_from_choices(tuple(PRESETS))

PATIENCE = 10.0
"""Seconds after SIGTERM or Ctrl-C within which a step has to end."""

ExperimentFlags = Annotated[Experiment, tyro.conf.arg(name=""), tyro.conf.FlagConversionOff]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train a model, or continue a training run.

    Attributes:
        workdir: the folder for checkpoints, metrics and samples. If it holds a checkpoint, training
            continues from the newest one.
        preset: the experiment to start from; the flags below change it.
        data_dir: the folder of the datasets; HYPERFUNC_DATA_DIR if not given.
        distributed: train together with other processes, such as those of the hosts of a TPU pod.
            Run the same command in each of them, with the same workdir.
        amx: train on the matrix units of Intel's Xeons (4th generation and later), in bfloat16;
            needs the package in contrib/amx.
        experiment: what to train.
    """

    workdir: Path
    preset: Preset = "sr"
    data_dir: OptionalPath = None
    distributed: Annotated[bool, tyro.conf.FlagConversionOff] = False
    amx: Annotated[bool, tyro.conf.FlagConversionOff] = False
    common: CommonFlags = Common()
    experiment: ExperimentFlags = dataclasses.field(default_factory=Experiment)


def main(args: list[str] | None = None) -> None:
    """Run the command with the given arguments, or those of the process."""
    run_command(parse, run, sys.argv[1:] if args is None else args, owns_process=args is None)


def parse(words: list[str], *, prog: str | None = None) -> Arguments:
    """Parse the words of the command line: the preset decides which other flags there are."""
    names = [word.partition("=")[2] for word in words if word.startswith("--preset=")]
    names += [word for flag, word in zip(words, words[1:], strict=False) if flag == "--preset"]
    name = names[-1] if names and names[-1] in PRESETS else "sr"
    return parse_arguments(_with_default(PRESETS[name]), words, prog=prog)


def _with_default(default: Experiment) -> type[Arguments]:
    """Make the same arguments with another experiment to start from."""

    @dataclasses.dataclass(frozen=True)
    class WithDefault(Arguments):
        experiment: ExperimentFlags = default

    WithDefault.__doc__ = Arguments.__doc__
    return WithDefault


def run(arguments: Arguments) -> None:
    """Train on the devices of this process, or together with other processes."""
    from hyperfunc.training import train  # The help needs no packages for training.

    check_apart("--workdir", arguments.workdir, arguments.experiment.data.dataset)
    if arguments.distributed:
        join_processes()
    else:
        use_cpu_cores(arguments.experiment.data.batch_size)
    keep_compilations()
    if arguments.amx:
        _enable_amx()
    train(arguments.experiment, arguments.workdir, data_dir=arguments.data_dir, patience=PATIENCE)


def _enable_amx() -> None:
    """Register the training layers of contrib/amx."""
    try:
        import hyperfunc_amx  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            f"--amx needs the package hyperfunc-amx ({error}): pip install ./contrib/amx"
        ) from error
    hyperfunc_amx.enable(make_mesh())
