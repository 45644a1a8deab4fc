"""Checkpoints that are missing, damaged, or of another experiment are refused in one line."""

import dataclasses
import re
import shutil

import jax
import numpy as np
import pytest

import evaluate
import train
from hyperfunc.data import Reconstruction
from hyperfunc.experiment import Workdir, checkpoint_files, init_variables, load_model


def test_a_folder_without_a_checkpoint(refuse, photos, tmp_path):
    dataset = f"--dataset={photos}"
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    for workdir in (tmp_path / "missing", tmp_path, tmp_path / "empty"):
        assert str(workdir) in refuse(evaluate.main, f"--workdir={workdir}", dataset)


NEEDED = ["config", "config/metadata", "model", "model/manifest.ocdbt"]


@pytest.mark.parametrize("part", [*NEEDED, "model/d", "model/ocdbt.process_0"])
@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_a_damaged_checkpoint(refuse, trained, photos, flags, tmp_path, part, how):
    workdir = tmp_path / "run"
    shutil.copytree(trained / "checkpoints" / "2", workdir / "checkpoints" / "2")
    damaged = workdir / "checkpoints" / "2" / part
    if how == "emptied":
        for path in [damaged, *damaged.rglob("*")]:
            if path.is_file():
                path.write_bytes(b"")
    elif damaged.is_dir():
        shutil.rmtree(damaged)
    else:
        damaged.unlink()
    error = refuse(evaluate.main, f"--workdir={workdir}", f"--dataset={photos}")
    assert str(workdir) in error and "step 2" in error
    error = refuse(train.main, f"--workdir={workdir}", *flags)
    assert str(workdir) in error and "step 2" in error


@pytest.mark.slow
@pytest.mark.parametrize("part", ["training", "config/metadata", "model/d"])
def test_training_goes_back_to_the_last_whole_checkpoint(
    trained, flags, tmp_path, part, capsys, assert_equal
):
    """The run ends as if it had not been damaged, and the damaged checkpoint is kept."""
    workdir = tmp_path / "run"
    more = [f"--workdir={workdir}", *flags, "--run.steps=2", "--run.save_every=1"]
    train.main(more)
    expected = load_model(workdir).variables
    damaged = workdir / "checkpoints" / "2" / part
    shutil.rmtree(damaged) if damaged.is_dir() else damaged.unlink()
    capsys.readouterr()
    train.main(more)
    (warning,) = re.findall("^warning: .*", capsys.readouterr().err, re.MULTILINE)
    assert (
        "step 2" in warning and f"going back to step 1, and keeping {workdir}/damaged-2" in warning
    )
    assert_equal(load_model(workdir).variables, expected)
    assert (workdir / "damaged-2").is_dir()


@pytest.mark.parametrize("part", ["training", "training/d", "training/manifest.ocdbt"])
def test_a_checkpoint_that_can_be_evaluated_but_not_resumed(
    refuse, trained, photos, flags, tmp_path, part
):
    shutil.copytree(trained / "checkpoints" / "2", tmp_path / "checkpoints" / "2")
    damaged = tmp_path / "checkpoints" / "2" / part
    shutil.rmtree(damaged) if damaged.is_dir() else damaged.unlink()
    assert "step 2" in refuse(train.main, f"--workdir={tmp_path}", *flags)
    assert load_model(tmp_path).step == 2


@pytest.fixture
def save(tmp_path, experiment):
    """Save initial parameters as a checkpoint."""

    def run(experiment=experiment):
        variables = init_variables(experiment, jax.random.key(0))
        with Workdir(tmp_path / "run") as workdir:
            workdir.save(1, experiment, variables, {"step": np.asarray(1)}, None)
        return tmp_path / "run"

    return run


def test_a_checkpoint_of_another_preset(refuse, save, photos, flags, experiment):
    faces = dataclasses.replace(experiment, task=Reconstruction())
    workdir = save(faces)
    error = refuse(evaluate.main, f"--workdir={workdir}", f"--dataset={photos}")
    assert "Reconstruction" in error and str(workdir) in error
    error = refuse(train.main, f"--workdir={workdir}", *flags)
    assert "another experiment" in error and "task" in error


def test_a_checkpoint_of_another_format_or_experiment(refuse, save, photos, flags, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "FORMAT", 99)
        workdir = save()
    for error in (
        refuse(evaluate.main, f"--workdir={workdir}", f"--dataset={photos}"),
        refuse(train.main, f"--workdir={workdir}", *flags),
    ):
        assert "99" in error and str(workdir) in error


def test_a_checkpoint_with_an_unknown_field(refuse, save, photos, flags, monkeypatch):
    to_dict = checkpoint_files.to_dict
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "to_dict", lambda e: {**to_dict(e), "novelty": 1})
        workdir = save()
    for error in (
        refuse(evaluate.main, f"--workdir={workdir}", f"--dataset={photos}"),
        refuse(train.main, f"--workdir={workdir}", *flags),
    ):
        assert "novelty" in error


def test_resuming_with_another_setting_names_it(refuse, trained, flags):
    error = refuse(train.main, f"--workdir={trained}", *flags, "--run.seed=1")
    assert "run.seed is 0 there and 1 here" in error
    # Intervals of logging and the number of checkpoints may change.
    train.main([f"--workdir={trained}", *flags, "--run.log_every=3", "--run.keep=5"])
