"""Copy what inference needs of a training run into the package.

python -m benchmarks.bundle --workdir=runs/sr --name=sr
"""

import dataclasses
import shutil
from pathlib import Path

import tyro

from hyperfunc.commands import report_errors
from hyperfunc.experiment import BUNDLED, export_model


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Bundle a checkpoint.

    Attributes:
        workdir: the training run.
        name: of the bundled checkpoint, which it replaces.
        step: which checkpoint; the newest if not given.
    """

    workdir: Path
    name: str = "sr"
    step: int | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        beside = BUNDLED / f".{arguments.name}.part"
        shutil.rmtree(beside, ignore_errors=True)
        export_model(arguments.workdir, beside, step=arguments.step)
        shutil.rmtree(BUNDLED / arguments.name, ignore_errors=True)
        beside.rename(BUNDLED / arguments.name)


if __name__ == "__main__":
    main()
