"""A run that was stopped or killed at any moment goes on as if nothing had happened."""

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest

from hyperfunc.data import Reconstruction
from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment, Workdir, load_model
from hyperfunc.experiment.config import Run
from hyperfunc.experiment.optimizers import Optimizer
from hyperfunc.networks import EDSR, CosineMLP, PatchHypernetwork
from hyperfunc.pixels import WHOLE_IMAGE
from hyperfunc.training import loop as training
from hyperfunc.training import make_init
from hyperfunc.training.writer import Writer

SIGNAL_SELF = """
import os, sys, train
from hyperfunc.{module} import {cls}

method = {cls}.{method}

def patched(self, step, *args, **kwargs):
    method(self, step, *args, **kwargs)
    if step == {step}:
        os.kill(os.getpid(), {number:d})

{cls}.{method} = patched
train.main(sys.argv[1:])
"""
"""A run of train.py that gets a signal right after a method was called for a step."""


def faces_like(experiment: Experiment) -> Experiment:
    """The paper's kind of model: the statistics of its batch normalisation are state, too."""
    return dataclasses.replace(
        experiment,
        model=PatchHypernetwork(
            EDSR(width=4, blocks=0),
            CosineMLP(hidden=(4,)),
            WHOLE_IMAGE,
            branch_width=4,
            branch_convs=1,
            pool=2,
        ),
        task=Reconstruction(size=16),
        optimizer=Optimizer(method="adamw"),
        run=Run(steps=4, loss="l2", log_every=1, save_every=2),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "number"), [("sr", signal.SIGTERM), ("faces", signal.SIGINT)])
def test_four_steps_are_two_a_signal_and_two_more(
    kind, number, experiment, trained, tmp_path, monkeypatch, capsys, assert_equal
):
    if kind == "sr":
        whole = training.train(experiment, trained)  # The end of the uninterrupted run.
        assert "MuonState" in repr(jax.tree.structure(whole))
    else:
        experiment = faces_like(experiment)
        whole = training.train(experiment, tmp_path / "whole")
        assert jax.tree.leaves(whole.batch_stats)

    with monkeypatch.context() as patch:
        write = Writer.write

        def write_and_signal(self, step, **metrics):
            write(self, step, **metrics)
            if step == 1:
                os.kill(os.getpid(), number)

        patch.setattr(Writer, "write", write_and_signal)
        rarely_saved = dataclasses.replace(
            experiment, run=dataclasses.replace(experiment.run, save_every=100)
        )
        before = signal.getsignal(number)
        with pytest.raises((SystemExit, KeyboardInterrupt)) as ended:
            training.train(rarely_saved, tmp_path / "stopped")
    is_143 = isinstance(ended.value, SystemExit) and ended.value.code == 143
    assert is_143 == (number == signal.SIGTERM)
    stopped = load_model(tmp_path / "stopped")
    assert stopped.step == 2 and "stopped at step 2" in capsys.readouterr().out
    assert signal.getsignal(number) == before

    resumed = training.train(experiment, tmp_path / "stopped")
    assert int(resumed.step) == 4
    assert_equal(whole, resumed)
    # What was saved in the background is what was trained, although its buffers were donated.
    assert_equal(whole.variables(), load_model(tmp_path / "stopped").variables)
    assert_equal(stopped.variables, load_model(tmp_path / "stopped", step=2).variables)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143)],
)
def test_a_signal_saves_and_ends_with_its_exit_code(
    number, exit_code, flags, trained, tmp_path, start_python, assert_equal
):
    code = SIGNAL_SELF.format(
        module="training.writer", cls="Writer", method="write", step=1, number=number
    )
    process = start_python(code, f"--workdir={tmp_path}", *flags, "--run.save_every=100")
    out, err = process.communicate(timeout=120)
    assert process.returncode == exit_code, err
    assert "stopped at step 2" in out
    assert "Traceback" not in err
    assert Workdir(tmp_path).latest() == 2

    training.train(load_model(trained).experiment, tmp_path)
    assert_equal(load_model(trained).variables, load_model(tmp_path).variables)


SLOW_STEP = """
import ctypes, os, signal, sys, threading
import hyperfunc.commands.train, train
from hyperfunc.training import loop

def compile_slow_steps(*arguments):
    (side, fast), = compile_train_steps(*arguments).items()

    def step(state, batch):
        if int(state.step) == {step}:
            threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGTERM]).start()
            # Another thread receives it: this one is in C, and stays there, as in XLA.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            ctypes.CDLL(None).sleep(60)
        return fast(state, batch)

    return {{side: step}}

hyperfunc.commands.train.PATIENCE = 1.0
compile_train_steps, loop.compile_train_steps = loop.compile_train_steps, compile_slow_steps
train.main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("step", "saved"), [(3, 2), (0, None)])
def test_a_signal_ends_a_step_that_lasts_too_long(step, saved, flags, tmp_path, start_python):
    process = start_python(SLOW_STEP.format(step=step), f"--workdir={tmp_path}", *flags)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert err.splitlines()[-1].startswith("stopped within a step that lasts more than 1 s")
    assert Workdir(tmp_path).latest() == saved


FULL_DISK = """
import resource, sys, train
from hyperfunc.experiment import Workdir

save = Workdir.save

def save_in_little_room(*arguments, **options):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    save(*arguments, **options)

Workdir.save = save_in_little_room
train.main()
"""


@pytest.mark.slow
def test_a_full_disk_is_told_in_few_lines(flags, tmp_path, start_python):
    process = start_python(FULL_DISK, f"--workdir={tmp_path}", *flags)
    _, err = process.communicate(timeout=120)
    lines = [line for line in err.replace("\r", "\n").splitlines() if "step/s" not in line]
    assert process.returncode == 2 and "a checkpoint cannot be written" in err, err
    assert "absl" not in err and len(lines) < 20, err


@pytest.mark.slow
def test_kill_9_loses_only_the_steps_since_the_last_save(
    flags, experiment, trained, tmp_path, start_python, assert_equal
):
    # It dies while step 4 is written in the background: that step is there whole, or not at all.
    code = SIGNAL_SELF.format(
        module="experiment.workdir", cls="Workdir", method="save", step=4, number=signal.SIGKILL
    )
    process = start_python(code, f"--workdir={tmp_path}", *flags)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names[0] == "2"
    assert load_model(tmp_path).step in (2, 4)

    assert_equal(training.train(experiment, trained), training.train(experiment, tmp_path))
    assert_equal(load_model(trained).variables, load_model(tmp_path).variables)
    steps = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert sorted(steps) == ["2", "4"]  # The remains of the killed save are gone.


def test_a_finished_run_is_left_as_it_is(experiment, trained, capsys):
    lines = (trained / "metrics.jsonl").read_text()
    state = training.train(experiment, trained)
    assert int(state.step) == 4
    assert "trained already: step 4 of 4" in capsys.readouterr().out
    assert (trained / "metrics.jsonl").read_text() == lines
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


@pytest.mark.slow
def test_a_killed_run_as_users_start_it(flags, tmp_path, start_python, assert_equal):
    # The other tests leave out most of XLA's optimisations, and choose the number of devices.
    as_usual = {"JAX_NUM_CPU_DEVICES": "-1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    long = [*flags, "--run.steps=40", "--run.save_every=10"]

    def run(code, name):
        process = start_python(code, f"--workdir={tmp_path / name}", *long, **as_usual)
        _, err = process.communicate(timeout=300)
        return process.returncode, err

    kill = SIGNAL_SELF.format(
        module="training.writer", cls="Writer", method="write", step=27, number=signal.SIGKILL
    )
    usual = "import sys, train; train.main(sys.argv[1:])"
    assert run(usual, "whole")[0] == 0
    assert run(kill, "killed")[0] == -signal.SIGKILL
    assert load_model(tmp_path / "killed").step in (10, 20)
    assert run(usual, "killed")[0] == 0
    assert_equal(
        load_model(tmp_path / "whole").variables, load_model(tmp_path / "killed").variables
    )


def standing(experiment, source):
    """One step that learns nothing, from another run."""
    return dataclasses.replace(
        experiment,
        run=dataclasses.replace(experiment.run, start_from=str(source), steps=1),
        optimizer=Optimizer(learning_rate=0.0, muon_learning_rate=0.0),
    )


@pytest.mark.slow
def test_training_goes_on_from_another_runs_parameters(experiment, trained, tmp_path, assert_equal):
    state = training.train(standing(experiment, trained), tmp_path)
    start = load_model(trained)
    assert_equal(state.params, start.variables["params"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        state.average,
        start.variables["params"],
    )
    assert int(state.step) == 1

    # Once it has begun, what it started from may be gone.
    gone = standing(experiment, tmp_path / "gone")
    assert_equal(training.train(gone, tmp_path).params, state.params)


@pytest.mark.slow
def test_it_starts_from_the_statistics_of_batches_too(experiment, tmp_path):
    experiment = faces_like(experiment)
    first = training.train(experiment, tmp_path / "first")
    fresh = make_init(experiment)().batch_stats
    after = training.train(standing(experiment, tmp_path / "first"), tmp_path / "second")
    # One batch moves them a little; from initial values they would be as near to those.
    distance = lambda a, b: sum(  # noqa: E731
        float(np.square(np.asarray(x) - np.asarray(y)).sum())
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )
    assert distance(after.batch_stats, first.batch_stats) < distance(first.batch_stats, fresh)


def test_it_refuses_to_start_from_another_model(experiment, trained, tmp_path):
    other = dataclasses.replace(
        faces_like(experiment), run=dataclasses.replace(experiment.run, start_from=str(trained))
    )
    with pytest.raises(UserError, match="its model"):
        training.train(other, tmp_path)
    assert not list(tmp_path.glob("checkpoints/*"))
