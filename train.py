"""Train a hypernetwork: parse a preset and overrides, and call `hyperfunc.training.loop.train`.

python train.py --workdir=runs/sr --data_dir=DATA
python train.py --workdir=runs/faces --preset=faces --run.steps=20000
"""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hyperfunc.devices import join_processes, make_mesh, use_cpu_cores
from hyperfunc.errors import UserError, report_errors
from hyperfunc.experiment import PRESETS, Experiment
from hyperfunc.training import train


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train a hypernetwork, or go on with the training in a workdir.

    Attributes:
        workdir: where checkpoints, metrics and samples go; training resumes from its newest
            checkpoint.
        preset: the experiment to start from; the flags below change it.
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        distributed: this is one of several processes, such as those of the hosts of a TPU pod, that
            train together; the same command runs in each of them, on a shared workdir.
        amx: train on the matrix units of Intel's Xeons (4th generation and later), in bfloat16;
            needs the package in contrib/amx.
        experiment: what to train.
    """

    workdir: Path
    preset: Literal[
        "sr",
        "sr_finetune",
        "sr_jpeg",
        "sr_large",
        "sr_vapsr",
        "sr_paper",
        "sr_patches",
        "faces",
        "faces_local",
        "srcnn",
        "rdn",
        "sr_rdn",
    ] = "sr"
    data_dir: Path | None = None
    distributed: bool = False
    amx: bool = False
    experiment: Annotated[Experiment, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=Experiment
    )


def main(args: list[str] | None = None) -> None:
    """Run the command with the given arguments, or those of the process."""
    with report_errors(ValueError):
        arguments = parse(sys.argv[1:] if args is None else args)
    with report_errors(ends_process=args is None):
        if arguments.distributed:
            join_processes()
        else:
            use_cpu_cores(arguments.experiment.data.batch_size)
        if arguments.amx:
            enable_amx()
        train(arguments.experiment, arguments.workdir, data_dir=arguments.data_dir)


def enable_amx() -> None:
    """Register the training layers of contrib/amx.

    Raises:
        UserError: They are not installed, or the machine cannot run them.
    """
    try:
        import hyperfunc_amx  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            f"--amx needs the package hyperfunc-amx ({error}): pip install ./contrib/amx"
        ) from error
    hyperfunc_amx.enable(make_mesh())


def parse(args: list[str]) -> Arguments:
    """Parse twice: the preset decides what the other flags are."""
    names = [arg.partition("=")[2] for arg in args if arg.startswith("--preset=")]
    names += [value for flag, value in zip(args, args[1:], strict=False) if flag == "--preset"]
    name = names[-1] if names and names[-1] in PRESETS else "sr"
    default = Arguments(workdir=tyro.MISSING, experiment=PRESETS[name])
    return tyro.cli(
        Arguments,
        args=args,
        default=default,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )


if __name__ == "__main__":
    main()
