"""Training: one story from an experiment to checkpoints.

The step is a pure function of (state, batch); `train` compiles it over a device mesh and runs it,
and saves so that a run that was killed at any moment goes on as if nothing had happened.
"""

import contextlib
import itertools
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import Array
from tqdm import tqdm

from hyperfunc.data import (
    ImageSource,
    SuperResolution,
    make_batches,
    make_resident_batches,
    open_dataset,
)
from hyperfunc.devices import batch_sharded, make_mesh, replicated, shard_batch, state_shardings
from hyperfunc.errors import UserError
from hyperfunc.experiment import (
    Experiment,
    Workdir,
    init_variables,
    lock_workdir,
    pixel_loss,
    stack_alike,
    to_dict,
)
from hyperfunc.function import predict, update_statistics
from hyperfunc.networks import TRAINING, check_training_layers
from hyperfunc.pixels import to_unit_range
from hyperfunc.training.resume import check_data, check_same, load_start
from hyperfunc.training.validation import Validator
from hyperfunc.training.writer import Writer

logger = logging.getLogger(__name__)


@flax.struct.dataclass
class TrainState:
    """Everything that changes in training. Arrays only, or their shapes, or their shardings."""

    step: Any
    """How many steps have been done."""
    params: Any
    average: Any
    """Exponential moving average of the parameters, which is what is evaluated."""
    batch_stats: Any
    """Running statistics of batch normalisation, of the network with the averaged parameters."""
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
    model = experiment.model
    optimizer = experiment.optimizer.make(experiment.run.steps)
    rates = experiment.optimizer.make_schedules(experiment.run.steps)

    def loss_of(params: Any, state: TrainState, observed: Array, batch: Any) -> Array:
        target = to_unit_range(batch["target"])
        variables = {"params": params, "batch_stats": state.batch_stats}
        predicted = predict(
            model, variables, observed, target.shape[1:3], phase=batch["phase"][0], mode=TRAINING
        )
        return pixel_loss(experiment.run.loss, predicted, target).mean()

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Array]]:
        observed = batch["observed"]
        loss, gradient = jax.value_and_grad(loss_of)(state.params, state, observed, batch)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # The average warms up, so that it does not remember the initial parameters.
        decay = jnp.minimum(experiment.run.ema, (1 + state.step) / (10 + state.step))
        average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, params)
        batch_stats = state.batch_stats
        if batch_stats:
            # Of the averaged network, which is what is evaluated: that of one step has others.
            variables = {"params": average, "batch_stats": batch_stats}
            batch_stats = update_statistics(model, variables, observed)
        metrics = {
            "loss": loss,
            "gradient_norm": optax.tree.norm(stack_alike(gradient)),
            "parameter_norm": optax.tree.norm(stack_alike(params)),
            **{name: jnp.asarray(rate(state.step)) for name, rate in rates.items()},
        }
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
            logging, saving and validating, and the number of checkpoints kept, may change, and with
            the "trapezoid" schedule the number of steps and the part in which it falls.
        workdir: for checkpoints, metrics and samples.
        data_dir: where datasets are.

    Raises:
        UserError: the data cannot be opened, the workdir is another experiment's, or the loss, the
            gradient or the parameters are no longer finite (the last good checkpoint is kept),
            ``run.start_from`` holds no checkpoint of the same model, registered training layers are
            of no use, or another process trains in the workdir.
    """
    to_dict(experiment)  # What cannot be stored is better known now than at the first checkpoint.
    mesh = make_mesh()
    if experiment.data.batch_size % mesh.size:
        raise UserError(
            f"a batch of {experiment.data.batch_size} cannot be divided over {mesh.size} devices: "
            f"choose --data.batch_size as a multiple of {mesh.size}"
        )
    with lock_workdir(workdir):
        return _train(experiment, workdir, data_dir, mesh)


def _train(experiment: Experiment, workdir: Path, data_dir: Path | None, mesh: Mesh) -> TrainState:
    run, is_main = experiment.run, jax.process_index() == 0
    # The state: shapes first, arrays later.
    init = make_init(experiment)
    shapes = jax.eval_shape(init)
    shardings = state_shardings(shapes, mesh, shard_parameters=run.shard_parameters)

    # Resume or begin.
    checkpoints = Workdir(workdir, keep=run.keep)
    start = checkpoints.latest()
    if start is None:
        start = 0
        variables = load_start(run.start_from, experiment) if run.start_from else None
        state = jax.jit(init, out_shardings=shardings)()
        if variables is not None:
            state = _start_from(variables, state)
    else:
        check_same(experiment, checkpoints.read_config(start).experiment, workdir)
        state = _restore(checkpoints, start, shapes, shardings)
    if start >= run.steps:
        checkpoints.close()
        if is_main:
            tqdm.write(f"{workdir} is trained already: step {start} of {run.steps}")
        return state

    # Data.
    source = open_dataset(experiment.data.dataset, data_dir=data_dir, split="train", strict=False)
    data = source.identify()
    if start:
        check_data(data, checkpoints.read_config(start).data, workdir)
    training, held_out = split_validation(source, experiment.data.validation)
    batches = _open_batches(experiment, training, mesh, start)
    validator = Validator(experiment.model, experiment.task, held_out, mesh)

    progress = tqdm(
        total=run.steps, initial=start, unit="step", disable=not is_main, mininterval=1.0
    )
    writer = Writer(workdir, start=start, active=is_main)
    previous: dict[str, Array] = {}
    with _stop_signals() as is_asked_to_stop, checkpoints, writer, progress:
        # The step, for each size of a batch's target; bad data is told before that takes minutes.
        batches = itertools.chain([next(batches)], batches)
        logger.info("compiling the training step, which can take minutes")
        train_steps = _compile_steps(experiment, shapes, shardings, mesh)

        since, seen = time.monotonic(), start
        for step, batch in zip(range(start + 1, run.steps + 1), batches, strict=False):
            # One step.
            state, metrics = train_steps[batch["target"].shape[1]](state, batch)
            progress.update()

            # Look at the step before, which is done by now: waiting for this one would idle
            # devices.
            _check_finite(previous, step - 1, checkpoints)
            previous = metrics
            is_stopping = is_asked_to_stop(step)
            logs, validates, saves = (
                _is_due(step, every, run.steps)
                for every in (run.log_every, run.validate_every, run.save_every)
            )
            if not (logs or validates or saves or is_stopping):
                continue
            _check_finite(metrics, step, checkpoints)  # What follows sees good states only.

            # Log.
            if logs:
                rate = (step - seen) * experiment.data.batch_size / (time.monotonic() - since)
                since, seen = time.monotonic(), step
                values = {name: float(value) for name, value in metrics.items()}
                writer.write(step, **values, images_per_second=rate)
                progress.set_postfix(loss=f"{values['loss']:.4f}", images_per_second=f"{rate:.0f}")

            # Validate.
            psnr, began = None, time.monotonic()
            if validates:
                scores, picture = validator(state.variables())
                psnr = scores.get("validation/psnr")
                if scores:
                    writer.write(step, **scores)
                if picture is not None:
                    writer.write_picture(step, "validation", picture)
                if psnr is not None and is_main:
                    progress.write(f"step {step}: validation {psnr:.3f} dB")

            # Save; also what has been validated, because it may be the best.
            if saves or psnr is not None or is_stopping:
                _save(checkpoints, experiment, step, state, psnr, data)
            since += time.monotonic() - began
            if is_stopping and step < run.steps:
                if is_main:
                    progress.write(f"stopped at step {step}, which is saved: run again to go on")
                break
        if is_main and (best := checkpoints.best()) not in (None, checkpoints.latest()):
            progress.write(
                f"the best checkpoint is that of step {best}: {workdir}/checkpoints/{best}"
            )
    return state


def _compile_steps(
    experiment: Experiment, shapes: TrainState, shardings: TrainState, mesh: Mesh
) -> dict[int, Callable[[TrainState, Any], tuple[TrainState, dict[str, Array]]]]:
    """Compile the training step for all sides that targets have, several at once.

    On an accelerator the first one goes alone: it finds the fastest kernels by timing them, and the
    others use what it has found.
    """
    step = jax.jit(
        make_train_step(experiment),
        in_shardings=(shardings, batch_sharded(mesh)),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
    )
    size, task = experiment.data.batch_size, experiment.task
    observed = jax.ShapeDtypeStruct((size, *task.observed_size, 3), jnp.uint8)
    phase = jax.ShapeDtypeStruct((size, 2), jnp.float32)
    lowered = []
    for side in task.target_sides:
        target = jax.ShapeDtypeStruct((size, side, side, 3), jnp.uint8)
        batch = {"observed": observed, "target": target, "phase": phase}
        lowered.append(step.lower(shapes, batch))
    check_training_layers()
    alone = 0 if mesh.devices.flat[0].platform == "cpu" else 1
    compiled = [one.compile() for one in lowered[:alone]]
    threads = ThreadPoolExecutor()
    try:
        compiled += threads.map(lambda one: one.compile(), lowered[alone:])
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for them.
    return dict(zip(task.target_sides, compiled, strict=True))


def _open_batches(
    experiment: Experiment, source: ImageSource, mesh: Mesh, start: int
) -> Iterator[Any]:
    """Iterate over batches that lie on the devices."""
    task, data, seed = experiment.task, experiment.data, experiment.run.seed
    if data.resident and isinstance(task, SuperResolution):
        return make_resident_batches(
            source,
            task,
            mesh,
            batch_size=data.batch_size,
            seed=seed,
            weights=data.weights,
            start=start,
        )
    batches = make_batches(
        source,
        task,
        batch_size=data.batch_size,
        seed=seed,
        weights=data.weights,
        start=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=data.threads,
    )
    return (shard_batch(batch, mesh) for batch in batches)


def split_validation(source: ImageSource, part: float) -> tuple[ImageSource, ImageSource]:
    """Hold out a part of the images, evenly over their order, at least one if it is not zero.

    Raises:
        UserError: nothing would be left to train on.
    """
    share = Fraction(part).limit_denominator(10_000)
    ends = [math.ceil(share * i - Fraction(1, 2)) for i in range(len(source) + 1)]
    held_out = [i for i in range(len(source)) if ends[i] < ends[i + 1]]
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
    checkpoints: Workdir,
    experiment: Experiment,
    step: int,
    state: TrainState,
    psnr: float | None,
    data: str,
) -> None:
    training = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
    checkpoints.save(step, experiment, state.variables(), training, psnr, data=data)


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


def _start_from(variables: Any, state: TrainState) -> TrainState:
    """Replace the parameters of an initial state."""

    def replace(old: Any, new: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.copy(jax.device_put(b, a.sharding)), old, new)

    params = replace(state.params, variables["params"])
    average = replace(state.average, variables["params"])
    batch_stats = replace(state.batch_stats, variables.get("batch_stats", {}))
    return TrainState(state.step, params, average, batch_stats, state.opt_state)


def _check_finite(metrics: dict[str, Array], step: int, checkpoints: Workdir) -> None:
    """Stop where the loss, the gradient or the updated parameters are not finite numbers."""
    for name, value in jax.device_get(metrics).items():
        if not np.isfinite(value):
            saved = checkpoints.latest()
            raise UserError(
                f"the {name.replace('_', ' ')} is {float(value)} at step {step}: "
                + (f"the checkpoint of step {saved} is good" if saved else "nothing is saved yet")
                + "; lower --optimizer.learning_rate or --optimizer.clip_norm in a new --workdir"
            )


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[int], bool]]:
    """Note SIGTERM and Ctrl-C instead of dying of them; a second Ctrl-C interrupts at once.

    Before the first step, when there is nothing to save, so does the first. Several processes
    agree, through JAX, on the step after which they stop; there only SIGTERM, to any of them, is
    noted.

    Yields:
        A function to call after each step: whether to save and stop.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return
    noted: list[int] = []
    steps: list[int] = []

    before = {}

    def note(number: int, frame: Any) -> None:
        if number == signal.SIGINT and (noted or not steps):
            interrupt = before[number]
            if callable(interrupt):
                return interrupt(number, frame)
            raise KeyboardInterrupt
        noted.append(number)
        if number == signal.SIGINT:
            tqdm.write("stopping after this step; Ctrl-C again stops at once")

    def is_asked_to_stop(step: int) -> bool:
        steps[:] = [step]
        return bool(noted)

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, note)
    except ValueError:  # Not in the main thread, where signals do not arrive anyway.
        pass
    try:
        yield is_asked_to_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
