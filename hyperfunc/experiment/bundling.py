"""Export the part of a checkpoint that inference needs, to ship it with the package."""

import dataclasses
from pathlib import Path

from hyperfunc.experiment.checkpoints import Model, load_model
from hyperfunc.experiment.config import to_dict
from hyperfunc.experiment.exported import Exported, write_exported


def export_model(workdir: Path, destination: Path, *, step: int | None = None) -> None:
    """Write the model of a checkpoint as a folder of two files, which `load_model` reads.

    Args:
        workdir: the training run.
        destination: the new folder.
        step: step of the checkpoint; by default the newest one.

    Raises:
        UserError: there is no such checkpoint, or it is damaged, or the folder cannot be written.
    """
    write_model(load_model(workdir, step=step), destination)


def write_model(model: Model, destination: Path) -> None:
    """Write a model as `export_model` does.

    Raises:
        UserError: the folder cannot be written.
    """
    run = dataclasses.replace(model.experiment.run, start_from="")  # A path on this machine.
    experiment = to_dict(dataclasses.replace(model.experiment, run=run))
    exported = Exported.of(model.step, experiment, model.reads)
    write_exported(destination, exported, model.variables)
