"""Write the part of a checkpoint that inference needs, to ship it with the package."""

import dataclasses
from pathlib import Path

from hyperfunc.experiment.checkpoint_files import make_config
from hyperfunc.experiment.checkpoints import load_model


def export_model(workdir: Path, destination: Path, *, step: int | None = None) -> None:
    """Write the model of a checkpoint as a workdir of its own.

    Args:
        workdir: the training run.
        destination: the new workdir.
        step: step of the checkpoint; by default the newest one.

    Raises:
        UserError: there is no such checkpoint, or it is damaged.
    """
    import orbax.checkpoint as ocp

    model = load_model(workdir, step=step)
    run = dataclasses.replace(model.experiment.run, start_from="")  # A path on this machine.
    experiment = dataclasses.replace(model.experiment, run=run)
    config = make_config(model.step, experiment, data="")
    with ocp.CheckpointManager(destination.absolute() / "checkpoints") as manager:
        manager.save(
            model.step,
            args=ocp.args.Composite(
                config=ocp.args.JsonSave(config), model=ocp.args.StandardSave(model.variables)
            ),
        )
    # Object stores need these files, local folders do not; they contain a path of this machine.
    for path in destination.rglob("commit_success.txt"):
        path.unlink()
