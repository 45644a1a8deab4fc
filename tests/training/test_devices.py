"""How many devices and processes there are changes rounding, and nothing else."""

import dataclasses
import json
import shutil
import signal
import socket
import time

import jax
import pytest

from hyperfunc.devices import make_mesh
from hyperfunc.experiment import Workdir, load_model
from hyperfunc.training import loop as training
from hyperfunc.training import make_init

NAMES = ("params", "average")
TRAIN = "import sys, train; train.main(sys.argv[1:])"


@pytest.fixture(scope="module")
def on_four(experiment, trained):
    """The state after four steps on four devices."""
    state = training.train(experiment, trained)
    assert jax.tree.leaves(state.params)[0].sharding.num_devices == 4
    return state


@pytest.fixture(scope="module")
def assert_close(experiment, on_four, distance):
    """Asserts that parameters lie far closer to those of four devices than four steps reach."""
    start = make_init(experiment)()
    paths = {name: distance(getattr(start, name), getattr(on_four, name)) for name in NAMES}

    def check(name: str, tree) -> None:
        assert paths[name] > 1e-2
        assert distance(tree, getattr(on_four, name)) < 1e-3 * paths[name]

    return check


def test_one_device_trains_what_four_train(experiment, tmp_path, monkeypatch, assert_close):
    monkeypatch.setattr(training, "make_mesh", lambda: make_mesh(jax.devices()[:1]))
    state = training.train(experiment, tmp_path)
    assert jax.tree.leaves(state.params)[0].sharding.num_devices == 1
    for name in NAMES:
        assert_close(name, getattr(state, name))


def test_sharded_parameters_train_like_copied_ones(experiment, tmp_path, assert_close):
    sharded = dataclasses.replace(
        experiment, run=dataclasses.replace(experiment.run, shard_parameters=True)
    )
    state = training.train(sharded, tmp_path)
    kernel = state.params["backbone"]["block_0_a"]["kernel"]
    assert kernel.addressable_shards[0].data.size == kernel.size // 4
    for name in NAMES:
        assert_close(name, getattr(state, name))
    assert_close("average", load_model(tmp_path).variables["params"])


@pytest.mark.slow
def test_a_run_on_four_devices_goes_on_on_one(flags, trained, tmp_path, start_python, assert_close):
    shutil.copytree(trained / "checkpoints" / "2", tmp_path / "checkpoints" / "2")
    process = start_python(TRAIN, f"--workdir={tmp_path}", *flags, JAX_NUM_CPU_DEVICES="1")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert Workdir(tmp_path).latest() == 4
    assert_close("average", load_model(tmp_path).variables["params"])


def start_processes(start_python, code, *arguments, count=2, devices=2):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [
        start_python(
            code,
            *arguments,
            "--distributed=True",
            JAX_NUM_CPU_DEVICES=str(devices),
            JAX_COORDINATOR_ADDRESS=f"localhost:{port}",
            JAX_NUM_PROCESSES=str(count),
            JAX_PROCESS_ID=str(i),
        )
        for i in range(count)
    ]


@pytest.mark.slow
def test_two_processes_train_what_one_trains(flags, trained, tmp_path, start_python, assert_close):
    processes = start_processes(start_python, TRAIN, f"--workdir={tmp_path}", *flags)
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert_close("average", load_model(tmp_path).variables["params"])
    # One process writes, and what it writes is about the whole batch.
    lines, alone = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tmp_path, trained)
    )
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["loss"] for line in lines] == pytest.approx([x["loss"] for x in alone], rel=1e-4)


# The next test's processes need many steps, because JAX looks for the signal once a second.
SIGTERM_AT_2 = """
import os, signal, sys, jax, train
from hyperfunc.training import recording

is_due = recording.is_due

def patched(step, every, last):
    if step == 2 and jax.process_index() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return is_due(step, every, last)

recording.is_due = patched
train.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_sigterm_to_one_process_stops_all_at_the_same_step(flags, tmp_path, start_python):
    long = [*flags, "--run.steps=1000000", "--run.save_every=1000000", "--run.log_every=100"]
    processes = start_processes(start_python, SIGTERM_AT_2, f"--workdir={tmp_path}", *long)
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [143, 143], outputs
    step = Workdir(tmp_path).latest()
    assert step is not None
    assert f"stopped at step {step}" in outputs[0][0]


def kill_after(step: int, is_killed: str = "True") -> str:
    """Code of a process that trains, and is killed in the next step once this one is saved."""
    return f"""
import os, signal, sys, time, jax, train
from hyperfunc.training import recording

is_due = recording.is_due
saved = sys.argv[1].partition("=")[2] + "/checkpoints/{step}"

def patched(step, every, last):
    if step == {step} + 1 and {is_killed}:
        while not os.path.isdir(saved):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    return is_due(step, every, last)

recording.is_due = patched
train.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_lost_process_ends_the_other_and_the_run_goes_on_alone(
    flags, experiment, trained, tmp_path, start_python, assert_close
):
    words = [f"--workdir={tmp_path}", *flags]
    code = kill_after(2, "jax.process_index() == 1")
    processes = start_processes(start_python, code, *words, devices=1)
    assert processes[1].wait(timeout=900) == -signal.SIGKILL
    killed = time.monotonic()
    _, error = processes[0].communicate(timeout=60)
    processes[1].communicate()
    assert time.monotonic() - killed < 60 and processes[0].returncode
    assert "another process of this training is lost" in error, error
    assert load_model(tmp_path).step == 2
    assert_close("average", training.train(experiment, tmp_path).average)
    lines, alone = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tmp_path, trained)
    )
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["loss"] for line in lines] == pytest.approx([x["loss"] for x in alone], rel=1e-5)


@pytest.mark.slow
def test_four_processes_then_two_then_four_train_what_one_trains(flags, tmp_path, start_python):
    flags = [*flags, "--run.steps=6"]
    alone = start_python(TRAIN, f"--workdir={tmp_path / 'alone'}", *flags)
    output = alone.communicate(timeout=300)
    assert alone.returncode == 0, output
    together = f"--workdir={tmp_path / 'together'}"
    for count, last_step in ((4, 2), (2, 4), (4, None)):
        code = kill_after(last_step) if last_step else TRAIN
        sizes = {"count": count, "devices": 4 // count}
        processes = start_processes(start_python, code, together, *flags, **sizes)
        outputs = [process.communicate(timeout=300) for process in processes]
        assert any(x.returncode for x in processes) == bool(last_step), outputs
        assert Workdir(tmp_path / "together").latest() == (last_step or 6), outputs
    losses = {}
    for name in ("alone", "together"):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        losses[name] = {line["step"]: line["loss"] for line in map(json.loads, lines)}
    assert list(losses["together"]) == [1, 2, 3, 4, 5, 6]
    assert losses["together"] == pytest.approx(losses["alone"], rel=1e-5)
