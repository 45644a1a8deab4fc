"""Training: one story from an experiment to checkpoints.

The step is a pure function of (state, batch); `train` compiles it over a device mesh and runs it,
and saves so that a run that was killed at any moment goes on as if nothing had happened.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int
from tqdm import tqdm

from hyperfunc.checkpoint import Workdir, init_variables
from hyperfunc.config import Experiment, to_dict
from hyperfunc.datasets import ImageSource, open_dataset
from hyperfunc.errors import UserError
from hyperfunc.functional_image import encode, render_phases
from hyperfunc.losses import pixel_loss
from hyperfunc.pipeline import make_batches
from hyperfunc.sharding import batch_sharded, make_mesh, replicated, shard_batch, state_shardings
from hyperfunc.validation import Validator
from hyperfunc.writer import Writer


@flax.struct.dataclass
class TrainState:
    """Everything that changes in training. Arrays only."""

    step: Int[Array, ""]
    params: Any
    average: Any
    """Exponential moving average of the parameters, which is what is evaluated."""
    batch_stats: Any
    opt_state: Any

    def variables(self) -> Any:
        """The variables for inference."""
        return {
            "params": self.average,
            **({"batch_stats": self.batch_stats} if self.batch_stats else {}),
        }


def make_init(experiment: Experiment) -> Callable[[], TrainState]:
    """Make the function that draws the initial state."""

    def init() -> TrainState:
        variables = init_variables(experiment, jax.random.key(experiment.run.seed))
        params = variables["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            average=jax.tree.map(jnp.copy, params),
            batch_stats=variables.get("batch_stats", {}),
            opt_state=experiment.optimizer.make(experiment.run.steps).init(params),
        )

    return init


def make_train_step(
    experiment: Experiment,
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, Array]]]:
    """Make the pure training step (state, batch) -> (state, metrics)."""
    optimizer = experiment.optimizer.make(experiment.run.steps)

    def loss_of(params: Any, state: TrainState, batch: Any) -> tuple[Array, Any]:
        observed, target = (
            batch[name].astype(jnp.float32) / 255 for name in ("observed", "target")
        )
        variables = {"params": params, "batch_stats": state.batch_stats}
        function, batch_stats = encode(experiment.model, variables, observed, train=True)
        scale = target.shape[1] // observed.shape[1]
        predicted = render_phases(function, scale, phase=batch["phase"][0])
        return pixel_loss(experiment.run.loss, predicted, target).mean(), batch_stats

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Array]]:
        (loss, batch_stats), gradient = jax.value_and_grad(loss_of, has_aux=True)(
            state.params, state, batch
        )
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # The average warms up, so that it does not remember the initial parameters.
        decay = jnp.minimum(experiment.run.ema, (1 + state.step) / (10 + state.step))
        average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, params)
        metrics = {"loss": loss, "gradient_norm": optax.global_norm(gradient)}
        return (
            TrainState(state.step + 1, params, average, batch_stats, opt_state),
            metrics,
        )

    return step


def train(experiment: Experiment, workdir: Path, *, data_dir: Path | None = None) -> TrainState:
    """Train, from the newest checkpoint in the workdir if there is one.

    SIGTERM and Ctrl-C save and return. Parameters on the same devices are the same, bit for bit,
    whether a run was interrupted or not.

    Args:
        experiment: what to train. A resumed run must be the same experiment; only the intervals of
            logging, saving and validating, and the number of checkpoints kept, may change.
        workdir: for checkpoints, metrics and samples.
        data_dir: where datasets are.

    Raises:
        UserError: the data cannot be opened, the workdir is another experiment's, or the loss is no
            longer finite (the last good checkpoint is kept).
    """
    run, is_main = experiment.run, jax.process_index() == 0
    # Devices and state: shapes first, arrays later.
    mesh = make_mesh()
    if experiment.data.batch_size % mesh.size:
        raise UserError(
            f"a batch of {experiment.data.batch_size} cannot be divided over {mesh.size} devices: "
            f"choose --data.batch_size as a multiple of {mesh.size}"
        )
    init = make_init(experiment)
    shapes = jax.eval_shape(init)
    shardings = state_shardings(shapes, mesh, shard_parameters=run.shard_parameters)

    # Resume or begin.
    checkpoints = Workdir(workdir, keep=run.keep)
    start = checkpoints.latest()
    if start is None:
        start = 0
        state = jax.jit(init, out_shardings=shardings)()
    else:
        _check_same(experiment, checkpoints.restore_experiment(start), workdir)
        state = _restore(checkpoints, start, shapes, shardings)
    if start >= run.steps:
        checkpoints.close()
        return state

    # Data.
    training, held_out = split_validation(
        open_dataset(experiment.data.dataset, data_dir=data_dir, split="train", strict=False),
        experiment.data.validation,
    )
    batches = make_batches(
        training,
        experiment.task,
        batch_size=experiment.data.batch_size,
        seed=run.seed,
        start=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=experiment.data.threads,
    )
    validator = Validator(experiment.model, experiment.task, held_out, mesh)

    # The step.
    train_step = jax.jit(
        make_train_step(experiment),
        in_shardings=(shardings, batch_sharded(mesh)),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
    )

    stopped = _catch_signals()
    progress = tqdm(
        total=run.steps, initial=start, unit="step", disable=not is_main, mininterval=1.0
    )
    previous: dict[str, Array] = {}
    psnr: float | None = None
    since, seen = time.monotonic(), start
    with Writer(workdir, active=is_main) as writer, progress:
        for step in range(start + 1, run.steps + 1):
            # One step.
            state, metrics = train_step(state, shard_batch(next(batches), mesh))
            progress.update()

            # Look at the step before, which is done by now: waiting for this one would idle
            # devices.
            if previous:
                _check_finite(previous, step - 1, workdir)
            previous = metrics
            if not _is_due(step, run.log_every, run.steps) and not stopped:
                continue

            # Log.
            values = {name: float(value) for name, value in metrics.items()}
            _check_finite(metrics, step, workdir)
            elapsed = time.monotonic() - since
            rate = (step - seen) * experiment.data.batch_size / elapsed
            since, seen = time.monotonic(), step
            writer.write(step, **values, images_per_second=rate)
            progress.set_postfix(loss=f"{values['loss']:.4f}", images_per_second=f"{rate:.0f}")

            # Validate.
            if _is_due(step, run.validate_every, run.steps):
                scores, picture = validator(state.variables())
                psnr = scores.get("validation/psnr")
                writer.write(step, **scores)
                if picture is not None:
                    writer.write_picture(step, "validation", picture)
                if psnr is not None:
                    progress.write(f"step {step}: validation {psnr:.3f} dB")
                since = time.monotonic()

            # Save.
            is_stopping = _any_process(bool(stopped))
            if _is_due(step, run.save_every, run.steps) or is_stopping:
                _save(checkpoints, experiment, step, state, psnr)
                psnr = None
            if is_stopping:
                progress.write(f"stopped at step {step}, which is saved: run again to go on")
                break
    checkpoints.close()
    return state


def split_validation(source: ImageSource, part: float) -> tuple[ImageSource, ImageSource]:
    """Hold out every n-th image (in the order of the source), at least one if ``part`` is not zero.

    Raises:
        UserError: nothing would be left to train on.
    """
    every = round(1 / part) if part else 0
    held_out = [i for i in range(len(source)) if every and i % every == every // 2]
    if part and not held_out:
        held_out = [len(source) - 1]
    kept = [i for i in range(len(source)) if i not in set(held_out)]
    if not kept:
        raise UserError(
            f"{source.description} has {len(source)} images, too few to hold one out: add images "
            "or train with --data.validation=0"
        )
    return source.select(kept), source.select(held_out)


def _is_due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last


def _save(
    checkpoints: Workdir, experiment: Experiment, step: int, state: TrainState, psnr: float | None
) -> None:
    training = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
    checkpoints.save(step, experiment, state.variables(), training, psnr)


def _restore(
    checkpoints: Workdir, step: int, shapes: TrainState, shardings: TrainState
) -> TrainState:
    abstract = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )
    training = {"step": abstract.step, "params": abstract.params, "opt_state": abstract.opt_state}
    model, restored = checkpoints.restore(step, abstract.variables(), training)
    return TrainState(average=model["params"], batch_stats=model.get("batch_stats", {}), **restored)


def _check_same(wanted: Experiment, saved: Experiment, workdir: Path) -> None:
    """Refuse to go on with another experiment."""
    free = {"run.log_every", "run.save_every", "run.keep", "run.validate_every", "data.threads"}
    new, old = _flatten(to_dict(wanted)), _flatten(to_dict(saved))
    differing = sorted(k for k in new.keys() | old.keys() if new.get(k) != old.get(k))
    differing = [name for name in differing if name not in free]
    if differing:
        name = differing[0]
        others = f" (and {len(differing) - 1} more differ)" if differing[1:] else ""
        raise UserError(
            f"{workdir} holds another experiment: {name} is {old.get(name)!r} there and "
            f"{new.get(name)!r} here{others}: use the same settings to resume, or another --workdir"
        )


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        name: value
        for key, branch in tree.items()
        for name, value in _flatten(branch, f"{prefix}.{key}" if prefix else key).items()
    }


def _check_finite(metrics: dict[str, Array], step: int, workdir: Path) -> None:
    if not np.isfinite(float(metrics["loss"])):
        raise UserError(
            f"the loss is {float(metrics['loss'])} at step {step}: the last checkpoint in "
            f"{workdir} is good; lower --optimizer.learning_rate or --optimizer.clip_norm in a new "
            "workdir"
        )


def _catch_signals() -> list[int]:
    """Note SIGTERM and SIGINT in the returned list instead of dying; a second SIGINT kills."""
    caught: list[int] = []

    def handler(number: int, frame: Any) -> None:
        del frame
        if number == signal.SIGINT and caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handler)
    except ValueError:  # Not in the main thread, where signals do not arrive anyway.
        pass
    return caught


def _any_process(flag: bool) -> bool:
    """Whether a flag is set in any process, so that all act together."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))
