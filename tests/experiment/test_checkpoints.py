"""Checkpoints: which are kept, what is in them, and which is read."""

import contextlib
import dataclasses
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.data import open_dataset
from hyperfunc.errors import UserError
from hyperfunc.experiment import (
    PRESETS,
    Workdir,
    checkpoint_files,
    exported,
    init_variables,
    load_model,
    lock_workdir,
    write_model,
)
from hyperfunc.function import encode, render_grid
from hyperfunc.pixels import Axis
from hyperfunc.training import loop as training


@pytest.fixture
def variables(tiny_experiment):
    return init_variables(tiny_experiment, jax.random.key(0))


@pytest.fixture
def save(tiny_experiment, variables, tmp_path):
    """Saves checkpoints {step: psnr}, whose parameters are those drawn, times the step."""

    def run(scores, keep=2, folder="run"):
        with Workdir(tmp_path / folder, keep=keep) as workdir:
            for step, psnr in scores.items():
                scaled = jax.tree.map(lambda leaf, step=step: leaf * step, variables)
                workdir.save(step, tiny_experiment, scaled, {"step": jnp.asarray(step)}, psnr)
        return tmp_path / folder

    return run


def test_dots_name_a_workdir(save, monkeypatch):
    monkeypatch.chdir(save({3: None}))
    assert load_model(".").step == load_model("../run").step == 3
    monkeypatch.chdir("checkpoints")
    assert load_model("..").step == 3


def kept(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize(
    ("scores", "steps"),
    [
        ({1: None, 2: None, 3: None, 4: None}, [3, 4]),  # The newest, if none was validated.
        ({1: 30.0, 2: 29.0, 3: 28.0, 4: 27.0}, [1, 3, 4]),
        ({1: 27.0, 2: 30.0, 3: None, 4: None, 5: 29.0, 6: None}, [2, 5, 6]),
        ({1: 27.0, 2: 28.0, 3: 29.0, 4: 30.0}, [3, 4]),  # The best is among the newest.
    ],
)
def test_the_newest_and_the_best_are_kept(save, scores, steps):
    assert kept(save(scores)) == steps


def test_the_best_checkpoint_before_an_interruption_is_kept(save):
    save({1: 30.0, 2: None, 3: None})
    assert kept(save({4: 29.0, 5: None, 6: None})) == [1, 5, 6]


def test_another_optimisers_state_is_refused_with_a_way_out(save, variables):
    folder = save({1: None})
    with Workdir(folder) as workdir, pytest.raises(UserError, match=r"--run\.start_from=.*run$"):
        workdir.restore(1, variables, {"step": jnp.asarray(0), "momentum": jnp.zeros(3)})


def test_the_newest_model_is_loaded_unless_a_step_is_given(save, variables, tiny_experiment):
    folder = save({1: 30.0, 2: 29.0, 10: None})
    model = load_model(folder)
    assert (model.step, model.path, model.experiment) == (10, folder, tiny_experiment)
    assert_equal(model.variables, jax.tree.map(lambda leaf: leaf * 10, variables))
    assert_equal(load_model(str(folder), step=1).variables, variables)
    with pytest.raises(UserError, match=r"no checkpoint of step 3: it has \[1, 2, 10\]"):
        load_model(folder, step=3)


def test_a_saved_state_is_restored(save, variables, tiny_experiment):
    with Workdir(save({7: None})) as workdir:
        assert workdir.latest() == 7
        assert workdir.read_config(7).experiment == tiny_experiment
        model, training = workdir.restore(7, variables, {"step": jnp.asarray(0)})
    assert_equal(model, jax.tree.map(lambda leaf: leaf * 7, variables))
    assert training["step"] == 7


def test_an_interrupted_save_leaves_the_previous_checkpoint(save, variables):
    folder = save({1: None, 2: None})
    # A kill in the middle leaves a part of the files, under a temporary name.
    remains = folder / "checkpoints" / "3.orbax-checkpoint-tmp-17"
    shutil.copytree(
        folder / "checkpoints" / "2" / "model", remains / "model.orbax-checkpoint-tmp-1"
    )
    assert load_model(folder).step == 2
    with Workdir(folder) as workdir:
        assert workdir.latest() == 2
    save({3: None})
    assert kept(folder) == [2, 3]  # The unfinished one is removed.


def test_a_single_checkpoint_can_be_loaded_by_its_path(save, variables):
    folder = save({1: 30.0, 2: 29.0})
    model = load_model(folder / "checkpoints" / "1")
    assert (model.step, model.path) == (1, folder)
    assert_equal(model.variables, variables)
    with pytest.raises(UserError, match="no checkpoint of step 7: it has \\[1, 2\\]"):
        load_model(folder, step=7)
    with Workdir(folder) as workdir:
        assert (workdir.best(), workdir.latest()) == (1, 2)


def test_an_unknown_config_is_refused_with_its_place(save, monkeypatch):
    folder = save({3: None})

    def refuse(data):
        raise UserError("this is no experiment")

    monkeypatch.setattr(checkpoint_files, "from_dict", refuse)
    with pytest.raises(UserError, match=f"{folder}, step 3: this is no experiment"):
        load_model(folder)


def test_a_workdir_can_be_a_relative_path(save, tmp_path, monkeypatch):
    save({1: None})
    monkeypatch.chdir(tmp_path)
    assert load_model("run").step == 1
    with Workdir(Path("run")) as workdir:
        assert workdir.latest() == 1


def test_a_string_may_name_a_bundled_checkpoint_and_a_path_is_a_folder(
    save, tmp_path, monkeypatch, variables
):
    write_model(load_model(save({1: None})), tmp_path / "bundled" / "sr")
    save({5: None}, folder="sr")
    monkeypatch.setattr(exported, "BUNDLED", tmp_path / "bundled")
    monkeypatch.chdir(tmp_path)
    assert load_model("sr").step == 1
    assert load_model(Path("sr")).step == 5
    for missing in ("", "faces"):
        with pytest.raises(UserError, match="bundled checkpoints: sr"):
            load_model(missing) if missing else load_model(tmp_path / "missing")


def test_an_exported_checkpoint_has_no_training_state(save, tmp_path, variables):
    folder = save({1: None, 2: None})
    write_model(load_model(folder, step=1), tmp_path / "exported")
    assert load_model(tmp_path / "exported").step == 1
    assert_equal(load_model(tmp_path / "exported").variables, variables)
    names = sorted(path.name for path in (tmp_path / "exported").iterdir())
    assert names == ["config.json", "model.safetensors"]


def test_a_loaded_model_computes_in_float32(tmp_path, variables, tiny_experiment):
    """Also one that was trained in bfloat16, for which a CPU takes nearly twice as long."""
    model = tiny_experiment.model
    backbone = model.backbone.clone(dtype="bfloat16")
    experiment = dataclasses.replace(tiny_experiment, model=model.clone(backbone=backbone))
    with Workdir(tmp_path / "run") as workdir:
        workdir.save(1, experiment, variables, {"step": np.asarray(1)}, None)
    assert load_model(tmp_path / "run").experiment.model == model
    write_model(load_model(tmp_path / "run"), tmp_path / "exported")
    assert load_model(tmp_path / "exported").experiment.model == model


def test_a_missing_file_is_an_error_or_does_not_matter(save, variables, tmp_path):
    folder = save({1: None})
    names = [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file()]
    refused = set()
    for name in names:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "copy")
        (tmp_path / "copy" / name).unlink()
        with contextlib.suppress(UserError):
            assert_equal(load_model(tmp_path / "copy").variables, variables)
            continue
        refused.add(name.relative_to("checkpoints/1").as_posix())
    assert {"config/metadata", "model/manifest.ocdbt"} <= refused


@pytest.mark.parametrize("name", sorted(folder.name for folder in exported.BUNDLED.glob("*/")))
def test_training_can_start_from_a_bundled_checkpoint(name):
    """With `--run.start_from=NAME` and the preset of that name."""
    experiment = load_model(name).experiment
    assert experiment.model == PRESETS[name].model
    assert experiment.run.start_from == ""


def test_the_preset_to_finetune_starts_from_a_bundled_checkpoint():
    preset = PRESETS["sr_finetune"]
    assert load_model(preset.run.start_from).experiment.model == preset.model


@pytest.mark.parametrize("name", sorted(folder.name for folder in exported.BUNDLED.glob("*/")))
def test_outputs_for_unnatural_images_stay_near_the_range(name):
    """Noise, dithering and stripes: without training on such images, `sr` returned thousands.

    `faces_local` was trained on faces only and is nearly linear: it exceeds the range by 1.1.
    `sr_paper` was trained on photographs only: it exceeds the range by 2.5, and `inpaint` by 1.1.
    """
    excess = {"faces_local": 1.5, "inpaint": 1.5, "sr_paper": 3.0}.get(name, 1.0)
    rng = np.random.default_rng(0)
    rows, cols = np.indices((64, 64))
    photograph = open_dataset("sample")[0][100:164, 100:164] / 255
    images = [
        rng.integers(0, 256, (64, 64, 3)) / 255,
        np.clip(photograph + rng.normal(0, 50 / 255, photograph.shape), 0, 1),
        np.round(np.clip(photograph + rng.uniform(-0.5, 0.5, photograph.shape), 0, 1)),
        np.repeat(rng.integers(0, 2, (64, 64, 1)), 3, axis=2),
        np.repeat((rows + cols)[..., None] % 2, 3, axis=2),
        np.stack([cols % 3 == channel for channel in range(3)], axis=2),
    ]
    model, axis = load_model(name), Axis(0.0, 0.5, 128)

    @jax.jit
    def double(images):
        return render_grid(encode(model.hypernetwork, model.variables, images)[0], axis, axis)

    rendered = double(np.stack(images).astype(np.float32))
    assert -excess < rendered.min() and rendered.max() < 1 + excess


def test_a_full_disk_is_a_user_error(save, tiny_experiment, variables, tmp_path, monkeypatch):
    save({1: None})

    def fail(*_, **__):
        raise OSError("No space left on device\nand much more")

    with Workdir(tmp_path / "run") as workdir:
        with (
            monkeypatch.context() as patch,
            pytest.raises(UserError, match=r"No space left.*free"),
        ):
            patch.setattr(workdir._manager, "save", fail)
            workdir.save(2, tiny_experiment, variables, {"step": np.asarray(2)}, None)
    assert load_model(tmp_path / "run").step == 1


HOLD_LOCK = """
import sys
from pathlib import Path
from hyperfunc.experiment import lock_workdir
with lock_workdir(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


def test_only_one_process_can_train_in_a_workdir(tiny_experiment, tmp_path):
    unfinished = tmp_path / "checkpoints" / "9.orbax-checkpoint-tmp"
    unfinished.mkdir(parents=True)
    command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None and it.stdout.readline() == "held\n"
        named = rf"another process \(number {it.pid}\) trains there"
        with pytest.raises(UserError, match=named), lock_workdir(tmp_path):
            pytest.fail("the other process holds the lock")
        with pytest.raises(UserError, match=named):
            training.train(tiny_experiment, tmp_path)
        assert unfinished.exists()
        it.kill()  # The lock of a dead process does not remain.
    with lock_workdir(tmp_path):
        assert (tmp_path / ".lock.pid").read_text() == f"{os.getpid()}\n"
    assert not (tmp_path / ".lock.pid").exists()


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "No locks")])
def test_training_continues_on_a_file_system_without_locks(error, tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with lock_workdir(tmp_path / "run"):
        assert "cannot be locked" in caplog.text
