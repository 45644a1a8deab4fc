"""What a run may go on from: the same experiment, or a checkpoint of the same model."""

import contextlib
from pathlib import Path
from typing import Any

from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment, load_model, to_dict


def load_start(path: str, experiment: Experiment) -> Any:
    """Load the variables to start from; the model must be the same, but for its dtype.

    Raises:
        UserError: there is no checkpoint, or it is of another model.
    """
    start = load_model(path)
    for name, (new, old) in _compare(experiment, start.experiment).items():
        if name.startswith("model.") and not name.endswith(".dtype"):
            raise UserError(
                f"cannot start from {path}: its {name} is {old!r}, and here it is {new!r}: use the "
                "same preset and --model options"
            )
    return start.variables


def check_same(wanted: Experiment, saved: Experiment, workdir: Path) -> None:
    """Refuse to go on with another experiment.

    Raises:
        UserError: it is another, in more than how often it logs, saves and validates, or, with the
            "trapezoid" schedule, in its length.
    """
    free = {"run.log_every", "run.save_every", "run.keep", "run.validate_every", "data.threads"}
    free |= {"run.start_from"}  # It is of no account after the start.
    if wanted.optimizer.schedule == "trapezoid":
        # Before its fall, a trapezoid does not depend on the length of the run; begun anew later,
        # it rises again, which is a way to go on with a finished run.
        free |= {"run.steps", "optimizer.decay"}
    differing = {k: pair for k, pair in _compare(wanted, saved).items() if k not in free}
    if "data.dataset" in differing and _is_same_folder(*differing["data.dataset"]):
        del differing["data.dataset"]
    if differing:
        name, (new, old) = next(iter(differing.items()))
        others = f" (and {len(differing) - 1} more differ)" if len(differing) > 1 else ""
        raise UserError(
            f"{workdir} holds another experiment: {name} is {old!r} there and "
            f"{new!r} here{others}: use the same settings to resume, or another --workdir"
        )


def _is_same_folder(one: str, other: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(one).expanduser().samefile(Path(other).expanduser())
    return False


def check_data(wanted: str, saved: str, workdir: Path) -> None:
    """Refuse to go on with other images: what is held out would be others, too.

    Args:
        wanted: what `hyperfunc.data.datasets.ImageSource.identify` says of the images.
        saved: what it said when the run began; "" if that is not known.
        workdir: for the message.

    Raises:
        UserError: they have changed.
    """
    if saved and wanted != saved:
        raise UserError(
            f"{workdir} was trained on {saved}, and now there are {wanted}: files have come, gone "
            "or changed their size; put them back, or go on in another --workdir with "
            f"--run.start_from={workdir}"
        )


def _compare(wanted: Experiment, saved: Experiment) -> dict[str, tuple[Any, Any]]:
    """The fields that differ, sorted by name, with both values."""
    new, old = _flatten(to_dict(wanted)), _flatten(to_dict(saved))
    return {
        name: (new.get(name), old.get(name))
        for name in sorted(new.keys() | old.keys())
        if new.get(name) != old.get(name)
    }


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        name: value
        for key, branch in tree.items()
        for name, value in _flatten(branch, f"{prefix}.{key}" if prefix else key).items()
    }
