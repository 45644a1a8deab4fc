"""How a run starts: from its own checkpoint, from another run's parameters, or from drawn ones."""

import contextlib
import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment, Workdir, load_model, to_dict
from hyperfunc.training.step import TrainState, make_init

logger = logging.getLogger(__name__)


def start_state(
    experiment: Experiment, checkpoints: Workdir, shapes: TrainState, shardings: TrainState
) -> tuple[TrainState, int]:
    """Make the state that a run starts with, and return the number of steps done, too."""
    # 1. The workdir has a checkpoint: continue there, exactly. If the newest is damaged, go back.
    if (steps := checkpoints.steps()) and jax.process_count() > 1:
        steps = steps[:1]  # Processes that train together might go back to different ones.
    damage: UserError | None = None
    for step in steps:
        logger.info("loading the checkpoint of step %d in %s", step, checkpoints.path)
        try:
            saved = checkpoints.read_config(step).experiment
        except UserError as error:
            damage = damage or error
            continue
        check_same(experiment, saved, checkpoints.path)
        try:
            state = _restore(checkpoints, step, shapes, shardings)
        except UserError as error:
            damage = damage or error
            continue
        if damage is not None:
            kept = ", ".join(str(place) for place in checkpoints.set_aside(step))
            logger.warning("%s; going back to step %d, and keeping %s", damage, step, kept)
        return state, step
    if damage is not None:
        raise damage

    # 2. Another run is named: begin with its averaged parameters.
    path = experiment.run.start_from
    variables = load_start(path, experiment) if path else None

    # 3. Otherwise begin with parameters drawn from the seed.
    logger.info("computing the initial parameters")
    state = jax.jit(make_init(experiment), out_shardings=shardings)()
    return (state if variables is None else _with_variables(state, variables)), 0


def save_state(
    checkpoints: Workdir,
    experiment: Experiment,
    step: int,
    state: TrainState,
    psnr: float | None,
    data: str,
) -> None:
    """Save a state so that `start_state` restores it; for the arguments see `Workdir.save`."""
    model, training = _split(state)
    checkpoints.save(step, experiment, model, training, psnr, data=data)


def _restore(
    checkpoints: Workdir, step: int, shapes: TrainState, shardings: TrainState
) -> TrainState:
    like = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )
    model, training = checkpoints.restore(step, *_split(like))
    return TrainState(average=model["params"], batch_stats=model.get("batch_stats", {}), **training)


def _split(state: TrainState) -> tuple[Any, Any]:
    """Split a state into what inference needs and what resuming needs in addition."""
    training = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
    return state.variables(), training


def _with_variables(state: TrainState, variables: Any) -> TrainState:
    """Replace the parameters and the statistics of an initial state."""

    def replace(old: Any, new: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.copy(jax.device_put(b, a.sharding)), old, new)

    # Parameters and average are two copies, because the training step donates both.
    params = replace(state.params, variables["params"])
    average = replace(state.average, variables["params"])
    batch_stats = replace(state.batch_stats, variables.get("batch_stats", {}))
    return TrainState(state.step, params, average, batch_stats, state.opt_state)


def load_start(path: str, experiment: Experiment) -> Any:
    """Load the variables to start from; the model must be the same except for its dtype."""
    start = load_model(path)
    for name, (new, old) in _compare(experiment, start.experiment).items():
        if name.startswith("model.") and not name.endswith(".dtype"):
            raise UserError(
                f"cannot start from {path}: its {name} is {old!r}, and here it is {new!r}: use the "
                "same preset and --model options"
            )
    return start.variables


def check_same(wanted: Experiment, saved: Experiment, workdir: Path) -> None:
    """Refuse to continue a run with an experiment that differs in more than what `train` allows."""
    free = {"run.log_every", "run.save_every", "run.keep", "run.validate_every", "data.threads"}
    free |= {"run.start_from"}  # It has had its effect.
    if wanted.optimizer.schedule == "trapezoid":
        # Before its fall, a trapezoid does not depend on the length of the run. A finished run may
        # continue, too: the rate then rises again to its peak.
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
    """Refuse to continue a run with other images (`ImageSource.identify`), if they are known."""
    if saved and wanted != saved:
        raise UserError(
            f"{workdir} was trained on {saved}, and now there are {wanted}: files were added, "
            "removed or resized; restore them, or continue in another --workdir with "
            f"--run.start_from={workdir}"
        )


def _compare(wanted: Experiment, saved: Experiment) -> dict[str, tuple[Any, Any]]:
    """Return the fields that differ, sorted by name, with both values."""
    new, old = (flatten_dict(to_dict(one), sep=".") for one in (wanted, saved))
    return {
        name: (new.get(name), old.get(name))
        for name in sorted(new.keys() | old.keys())
        if new.get(name) != old.get(name)
    }
