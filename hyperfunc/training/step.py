"""The training step: a pure function (state, batch) -> (state, metrics), and its compilation."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from hyperfunc.devices import batch_sharded, replicated
from hyperfunc.experiment import Experiment, init_variables, pixel_loss, stack_alike
from hyperfunc.function import batch_statistics, predict
from hyperfunc.networks import TRAINING, check_training_layers
from hyperfunc.values import to_unit_range

logger = logging.getLogger(__name__)


@flax.struct.dataclass
class TrainState:
    """Everything that training changes: arrays, or in their place their shapes or shardings."""

    step: Any
    """Number of steps done."""
    params: Any
    average: Any
    """Exponential moving average of the parameters, which is what gets evaluated."""
    batch_stats: Any
    """Running statistics of batch normalisation, of the network with the averaged parameters."""
    opt_state: Any

    def variables(self) -> Any:
        """Return the variables for inference."""
        return {
            "params": self.average,
            **({"batch_stats": self.batch_stats} if self.batch_stats else {}),
        }


STATISTICS_EVERY = 4
"""Running statistics are updated after so many steps: they take a forward pass of their own."""

TrainStep = Callable[[TrainState, Any], tuple[TrainState, dict[str, Array]]]


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


def make_train_step(experiment: Experiment) -> TrainStep:
    """Make the training step.

    A batch holds "observed", uint8 or float in [0, 1], "target", uint8, and "phase". The metrics
    are the loss, the norms of the gradient and of the updated parameters, and the learning rates.
    """
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
        # The decay warms up, so that the average soon forgets the initial parameters.
        decay = jnp.minimum(experiment.run.ema, (1 + state.step) / (10 + state.step))
        average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, params)
        batch_stats = state.batch_stats
        if batch_stats:
            # The averaged network is evaluated, whose statistics differ from those of this step.
            variables = {"params": average, "batch_stats": batch_stats}
            batch_stats = jax.lax.cond(
                state.step % STATISTICS_EVERY == 0,
                lambda: _average_statistics(
                    batch_stats, batch_statistics(model, variables, observed), state.step
                ),
                lambda: batch_stats,
            )
        metrics = {
            "loss": loss,
            "gradient_norm": optax.tree.norm(stack_alike(gradient)),
            "parameter_norm": optax.tree.norm(stack_alike(params)),
            **{name: jnp.asarray(rate(state.step)) for name, rate in rates.items()},
        }
        return TrainState(state.step + 1, params, average, batch_stats, opt_state), metrics

    return step


def _average_statistics(running: Any, of_batch: Any, step: Array) -> Any:
    """Update the running statistics, whose decay warms up as that of the parameters does."""
    updates = step // STATISTICS_EVERY
    decay = jnp.minimum(0.99, (1 + updates) / (10 + updates))
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, running, of_batch)


def compile_train_steps(
    experiment: Experiment, shapes: TrainState, shardings: TrainState, mesh: Mesh
) -> dict[int, TrainStep]:
    """Compile the training step, which donates the state, for each side that targets have."""
    size, task = experiment.data.batch_size, experiment.task
    sides = ", ".join(map(str, task.target_sides))
    logger.info(
        "compiling the training step for targets of %s pixels: this may take minutes", sides
    )
    step = jax.jit(
        make_train_step(experiment),
        in_shardings=(shardings, batch_sharded(mesh)),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
    )
    observed = jax.ShapeDtypeStruct((size, *task.observed_size, 3), task.observed_dtype)
    phase = jax.ShapeDtypeStruct((size, 2), jnp.float32)
    lowered = []
    for side in task.target_sides:
        target = jax.ShapeDtypeStruct((size, side, side, 3), jnp.uint8)
        batch = {"observed": observed, "target": target, "phase": phase}
        lowered.append(step.lower(shapes, batch))
    check_training_layers()
    # On an accelerator the first compilation times kernels to choose the fastest, and must not be
    # disturbed; the others reuse its choices.
    alone = 0 if mesh.devices.flat[0].platform == "cpu" else 1
    compiled = [one.compile() for one in lowered[:alone]]
    threads = ThreadPoolExecutor()
    try:
        compiled += threads.map(lambda one: one.compile(), lowered[alone:])
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for them.
    return dict(zip(task.target_sides, compiled, strict=True))
