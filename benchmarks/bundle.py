"""Copy what inference needs of a training run into the package.

python -m benchmarks.bundle --workdir=runs/sr --name=sr
"""

import dataclasses
import shutil
from pathlib import Path

import jax
import numpy as np
import tyro

from hyperfunc.commands import report_errors
from hyperfunc.experiment import BUNDLED, Model, load_model, write_model


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Bundle a checkpoint.

    Attributes:
        workdir: the training run.
        name: of the bundled checkpoint, which it replaces.
        step: which checkpoint; the newest if not given.
        mean_with: runs of the same model; the mean of all their parameters is bundled.
    """

    workdir: Path
    name: str = "sr"
    step: int | None = None
    mean_with: tuple[Path, ...] = ()


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        beside = BUNDLED / f".{arguments.name}.part"
        shutil.rmtree(beside, ignore_errors=True)
        model = load_model(arguments.workdir, step=arguments.step)
        write_model(average(model, [load_model(path) for path in arguments.mean_with]), beside)
        shutil.rmtree(BUNDLED / arguments.name, ignore_errors=True)
        beside.rename(BUNDLED / arguments.name)


def average(model: Model, others: list[Model]) -> Model:
    """Return the model with the mean of its variables and those of others."""
    variables = [each.variables for each in (model, *others)]
    mean = jax.tree.map(lambda *x: np.mean(x, axis=0, dtype=np.float32), *variables)
    return dataclasses.replace(model, variables=mean)


if __name__ == "__main__":
    main()
