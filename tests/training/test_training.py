"""The training step, and what surrounds it."""

import dataclasses
import itertools
import math
import signal
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.data import Degradation, Reconstruction, make_batches, open_dataset
from hyperfunc.experiment import PRESETS, Experiment, pixel_loss
from hyperfunc.experiment.losses import Loss
from hyperfunc.experiment.optimizers import Optimizer
from hyperfunc.function import encode, predict, render_phases
from hyperfunc.networks import EDSR, TRAINING, CosineMLP, PatchHypernetwork, PixelHypernetwork
from hyperfunc.pixels import WHOLE_IMAGE, WindowLayout
from hyperfunc.training import make_init, make_train_step, train
from hyperfunc.training.recording import is_due
from hyperfunc.training.stop_signals import StopSignals


@pytest.fixture
def experiment(tiny_experiment):
    return dataclasses.replace(
        tiny_experiment, run=dataclasses.replace(tiny_experiment.run, steps=100, ema=0.5)
    )


@pytest.fixture
def batch(experiment):
    source = open_dataset(experiment.data.dataset, split="train")
    return next(make_batches(source, experiment.task, batch_size=4, seed=1))


def test_the_initial_state_depends_on_the_seed_only(experiment):
    first, second = make_init(experiment)(), make_init(experiment)()
    jax.tree.map(np.testing.assert_array_equal, first, second)
    jax.tree.map(np.testing.assert_array_equal, first.params, first.average)
    assert int(first.step) == 0
    other = dataclasses.replace(experiment, run=dataclasses.replace(experiment.run, seed=1))
    kernels = [s.params["backbone"]["head"]["kernel"] for s in (first, make_init(other)())]
    assert not np.array_equal(*kernels)


def test_a_step_reports_the_loss_and_moves_everything(experiment, batch):
    state = make_init(experiment)()
    after, metrics = jax.jit(make_train_step(experiment))(state, batch)
    assert int(after.step) == 1

    # The loss is the mean absolute error of what the model at hand renders.
    assert isinstance(experiment.model, PixelHypernetwork) and experiment.run.loss == "l1"
    observed, target = (batch[name].astype(np.float32) / 255 for name in ("observed", "target"))
    function, _ = encode(experiment.model, {"params": state.params}, jnp.asarray(observed))
    scale = target.shape[1] // observed.shape[1]
    rendered = render_phases(function, scale, phase=jnp.asarray(batch["phase"][0]))
    expected = np.abs(np.asarray(rendered) - target).mean()
    assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-4)

    norm = np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(after.params)))
    assert float(metrics["parameter_norm"]) == pytest.approx(norm, rel=1e-4)
    assert float(metrics["gradient_norm"]) > 0
    for before, leaf in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(after.params), strict=True
    ):
        assert not np.array_equal(before, leaf)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("sr", "faces") else pytest.mark.slow)
        for name in sorted(PRESETS)
    ],
)
def test_a_step_keeps_the_types_of_the_state(name):
    """Else what was compiled for the first step does not fit the second."""
    experiment = PRESETS[name]
    task = experiment.task
    side = task.target_sides[0]
    batch = {
        "observed": jax.ShapeDtypeStruct((2, *task.observed_size, 3), task.observed_dtype),
        "target": jax.ShapeDtypeStruct((2, side, side, 3), np.uint8),
        "phase": jax.ShapeDtypeStruct((2, 2), np.float32),
    }
    before = jax.eval_shape(make_init(experiment))
    after, _ = jax.eval_shape(make_train_step(experiment), before, batch)

    def types(state):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), state)

    assert types(after) == types(before)


def test_the_average_warms_up_to_its_decay(experiment, batch):
    step, state = jax.jit(make_train_step(experiment)), make_init(experiment)()
    average = np.asarray(state.params["branch"], np.float64)
    for number in range(12):
        state, _ = step(state, batch)
        decay = min(0.5, (1 + number) / (10 + number))
        average = decay * average + (1 - decay) * np.asarray(state.params["branch"], np.float64)
    np.testing.assert_allclose(state.average["branch"], average, atol=1e-6)
    assert state.variables() == {"params": state.average}  # Nothing to normalise here.


def test_a_learned_batch_has_a_lower_loss(experiment, batch):
    fast = dataclasses.replace(experiment.optimizer, learning_rate=1e-2, warmup=0)
    experiment = dataclasses.replace(experiment, optimizer=fast)
    step, state = jax.jit(make_train_step(experiment)), make_init(experiment)()
    losses = []
    for _ in range(30):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["resident", "degraded"])
def test_a_run_goes_on_as_if_it_had_not_been_stopped(experiment, tmp_path, kind):
    is_resident = kind == "resident"
    degradation = Degradation() if is_resident else PRESETS["restore"].task.degradation

    def run(steps):
        return dataclasses.replace(
            experiment,
            task=dataclasses.replace(experiment.task, scales=(1, 2), degradation=degradation),
            data=dataclasses.replace(experiment.data, resident=is_resident, validation=0.0),
            # Constant, so that the length of the run does not matter.
            optimizer=dataclasses.replace(
                experiment.optimizer, schedule="trapezoid", warmup=0, decay=1e-6
            ),
            run=dataclasses.replace(experiment.run, steps=steps, validate_every=100),
        )

    whole = train(run(4), tmp_path / "whole")
    train(run(2), tmp_path / "stopped")
    resumed = train(run(4), tmp_path / "stopped")
    assert int(resumed.step) == 4
    jax.tree.map(np.testing.assert_array_equal, whole.params, resumed.params)


def test_the_last_step_is_always_due():
    due = [step for step in range(1, 11) if is_due(step, 4, 10)]
    assert due == [4, 8, 10]


# What a step compares: every so many rows and columns of the full rendering.

TENTS = WindowLayout(size=8, stride=4, overhang=4.0)


def patches(layout, footprint=False, base="none"):
    target = CosineMLP((4, 5), footprint=footprint)
    return PatchHypernetwork(
        EDSR(width=4, blocks=0), target, layout, base, branch_width=4, branch_convs=1, pool=1
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "stride"),
    [
        (patches(WHOLE_IMAGE), 4),
        (patches(TENTS), 2),
    ],
    ids=["whole", "tents"],
)
def test_a_stride_leaves_out_rows_and_columns_of_the_rendering(model, stride):
    images = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), images)

    @jax.jit
    def render_whole(images):
        return render_phases(encode(model, variables, images, mode=TRAINING)[0], 1)

    whole = render_whole(images)
    size = (16 // stride, 16 // stride)
    predict_part = jax.jit(
        lambda x, phase: predict(model, variables, x, size, phase=phase, mode=TRAINING)
    )
    for top, left in ((0, 0), (1, 0), (stride - 1, stride - 1)):
        phase = 0.5 - (np.array([top, left], np.float32) + 0.5) / stride
        part = predict_part(images, phase)
        np.testing.assert_allclose(part, whole[:, top::stride, left::stride], atol=1e-5)
    assert np.asarray(whole).std() > 1e-3


@pytest.mark.slow
def test_running_statistics_are_those_of_the_averaged_network(experiment):
    model = patches(WHOLE_IMAGE)
    experiment = dataclasses.replace(experiment, model=model, task=Reconstruction(size=16))
    images = np.random.default_rng(0).integers(256, size=(2, 16, 16, 3), dtype=np.uint8)
    batch = {"observed": images, "target": images, "phase": np.zeros((2, 2), np.float32)}
    before = make_init(experiment)()
    before = before.replace(
        step=jnp.int32(52), average=jax.tree.map(lambda leaf: 3 * leaf, before.params)
    )
    state, _ = jax.jit(make_train_step(experiment))(before, batch)

    @jax.jit
    def statistics(params):
        variables = {"params": params, "batch_stats": before.batch_stats}
        pixels = jnp.asarray(images / 255, jnp.float32)
        of_batch = encode(model, variables, pixels, mode=TRAINING)[1]
        # After 52 steps there have been 13 updates.
        return jax.tree.map(lambda a, b: (14 * a + 9 * b) / 23, before.batch_stats, of_batch)

    of_average, of_last = statistics(state.average), statistics(before.params)
    pairs = zip(*(jax.tree.leaves(s) for s in (of_average, of_last)), strict=True)
    assert max(np.abs(a - b).max() for a, b in pairs) > 1e-4
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        state.batch_stats,
        of_average,
    )


@pytest.mark.slow
def test_running_statistics_soon_forget_their_initial_values(experiment):
    """Also in a short run, because the average of the parameters does."""
    model = patches(WHOLE_IMAGE)
    experiment = dataclasses.replace(
        experiment,
        model=model,
        task=Reconstruction(size=16),
        optimizer=dataclasses.replace(experiment.optimizer, learning_rate=0.0),
    )
    images = np.random.default_rng(0).integers(256, size=(2, 16, 16, 3), dtype=np.uint8)
    batch = {"observed": images, "target": images, "phase": np.zeros((2, 2), np.float32)}
    step, state, stats = jax.jit(make_train_step(experiment)), make_init(experiment)(), []
    for _ in range(41):
        state, _ = step(state, batch)
        stats.append(jax.device_get(state.batch_stats))
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    pixels = jnp.asarray(images / 255, jnp.float32)
    of_batch = encode(model, variables, pixels, mode=TRAINING)[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), stats[-1], of_batch)
    changed = [
        any(map(np.not_equal, *(map(np.ndarray.sum, jax.tree.leaves(s)) for s in pair)))
        for pair in itertools.pairwise(stats)
    ]
    assert [i + 1 for i, has_changed in enumerate(changed[:12]) if has_changed] == [4, 8, 12]


@pytest.mark.parametrize("changes", [{"footprint": True}, {"base": "bicubic"}], ids=str)
def test_a_stride_would_change_a_footprint(changes):
    model = patches(WHOLE_IMAGE, **changes)
    with pytest.raises(ValueError, match="--task.stride=1"):
        Experiment(model=model, task=Reconstruction(size=16, stride=2))
    Experiment(model=model, task=Reconstruction(size=16))


def test_the_logged_rates_are_those_of_the_update(experiment):
    """Of AdamW alone, whose first update is the rate, but for signs."""
    optimizer = Optimizer(method="adamw", learning_rate=1e-2, warmup=3, clip_norm=0.0)
    experiment = dataclasses.replace(experiment, optimizer=optimizer)
    rates = optimizer.make_schedules(experiment.run.steps)
    assert set(rates) == {"learning_rate"}
    state, step = make_init(experiment)(), jax.jit(make_train_step(experiment))
    source = open_dataset(experiment.data.dataset, split="train")
    batches = make_batches(source, experiment.task, batch_size=4, seed=1)
    for number, expected in zip(range(2), (1e-2 / 3, 1e-2 * 5 / 9), strict=True):
        before = state.params
        state, metrics = step(state, next(batches))
        assert float(metrics["learning_rate"]) == pytest.approx(expected)
        moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), state.params, before)
        if not number:
            assert max(map(float, jax.tree.leaves(moved))) == pytest.approx(expected, rel=0.01)


def test_a_component_that_cannot_be_stored_is_told_before_anything_is_done(experiment, tmp_path):
    class Mine(EDSR):
        extra: int = 7

    model = PixelHypernetwork(Mine(width=8, blocks=1), experiment.model.target)
    with pytest.raises(ValueError, match="the class Mine: add it to the union"):
        train(dataclasses.replace(experiment, model=model), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_each_loss_is_another():
    predicted, target = jnp.zeros((1, 2, 2, 3)), jnp.full((1, 2, 2, 3), 1e-3)
    values = {name: float(pixel_loss(name, predicted, target)[0]) for name in get_args(Loss)}
    logarithm = math.log10(2e-6)
    expected = {"l1": 1e-3, "l2": 1e-6, "charbonnier": 2e-6**0.5, "psnr": logarithm}
    assert values == pytest.approx(expected)


def test_ctrl_c_stops_after_the_step_and_before_the_first_at_once(capsys):
    with StopSignals().catching(math.inf), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signals = StopSignals()
    with signals.catching(math.inf):
        assert not signals.is_asked(1, ())
        signal.raise_signal(signal.SIGINT)
        assert "press Ctrl-C again to stop at once" in capsys.readouterr().out
        assert signals.is_asked(2, ())
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_sigterm_ends_the_run_with_its_exit_code():
    signals = StopSignals()
    with signals.catching(math.inf):
        assert not signals.is_asked(1, ())
        signal.raise_signal(signal.SIGTERM)
        assert signals.is_asked(2, ())
        with pytest.raises(SystemExit) as error:
            signals.end()
    assert error.value.code == 143
