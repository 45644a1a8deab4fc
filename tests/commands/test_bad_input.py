"""Mistakes of a user end in one line that says what is wrong and what to do, and exit code 2."""

import json
import re
import shutil
import sys

import hyperfunc_amx
import jax
import numpy as np
import pytest

import evaluate
import train
from hyperfunc.commands import main
from hyperfunc.errors import UserError
from hyperfunc.experiment import load_model
from hyperfunc.training import batches, loop, step


def test_a_dataset_that_does_not_exist(refuse, trained, tmp_path):
    assert "urban10" in refuse(evaluate.main, "--dataset=urban10", f"--workdir={trained}")
    assert "urban10" in refuse(train.main, "--data.dataset=urban10", f"--workdir={tmp_path}")
    error = refuse(evaluate.main, "--dataset=SET5", f"--workdir={trained}")
    assert "SET5: no such dataset (did you mean set5?)" in error


@pytest.mark.parametrize(
    "words",
    [
        "upscale az://b/x b.png --scale=2",
        "upscale a.png az://b/x --scale=2",
        "upscale a.png b.png --scale=2 --report=az://b/x",
        "upscale a.png b.png --scale=2 --checkpoint=az://b/x",
        "info az://b/x",
        "view az://b/x",
        "export az://b/x --html=b.html",
        "export a.png --function=az://b/x",
        "train --workdir=az://b/x",
        "train --workdir=run --data_dir=az://b/x",
        "train --workdir=run --data.dataset=az://b/x",
        "train --workdir=run --run.start_from=az://b/x",
        "evaluate --dataset=az://b/x",
        "evaluate --json=az://b/x",
        "evaluate --workdir=az://b/x",
        "evaluate --task=interpolate --out=az://b/x",
    ],
)
def test_addresses_of_other_stores_are_refused(capsys, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        main(words.split())
    assert exit.value.code == 2 and not list(tmp_path.iterdir())
    assert capsys.readouterr().err.startswith("error: az://b/x: is an address, and only gs://, ")


def test_a_data_dir_that_does_not_exist(refuse, trained, tmp_path, monkeypatch):
    missing = tmp_path / "missing"
    for command in (train.main, evaluate.main):
        error = refuse(command, f"--workdir={tmp_path / 'run'}", f"--data_dir={missing}")
        assert str(missing) in error
    monkeypatch.delenv("HYPERFUNC_DATA_DIR", raising=False)
    assert "--data_dir" in refuse(train.main, f"--workdir={tmp_path / 'run'}")


def test_amx_without_its_package(refuse, flags, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hyperfunc_amx", None)
    error = refuse(train.main, f"--workdir={tmp_path}", *flags, "--amx=True")
    assert "pip install ./contrib/amx" in error
    assert not list(tmp_path.iterdir())


def test_amx_on_another_cpu(refuse, flags, tmp_path, monkeypatch):
    monkeypatch.setattr(hyperfunc_amx, "cpu_features", set)
    error = refuse(train.main, f"--workdir={tmp_path}", *flags, "--amx=True")
    assert "--amx needs a CPU with amx_bf16" in error
    assert not list(tmp_path.iterdir())


def test_evaluation_refuses_a_text_file_named_png(refuse, trained, photos, tmp_path):
    shutil.copy(photos / "photo_0.png", tmp_path)
    (tmp_path / "text.png").write_text("this is no image")
    error = refuse(evaluate.main, f"--dataset={tmp_path}", f"--workdir={trained}", "--scale=2")
    assert str(tmp_path / "text.png") in error


def test_training_warns_of_a_text_file_named_png_and_leaves_it_out(
    flags, trained, photos, tmp_path, assert_equal, capsys
):
    images = tmp_path / "images"
    shutil.copytree(photos, images)
    (images / "photo_3_text.png").write_text("this is no image")
    train.main([f"--workdir={tmp_path / 'run'}", *flags, f"--data.dataset={images}"])
    (warning,) = re.findall("^warning: .*", capsys.readouterr().err, re.MULTILINE)
    assert "photo_3_text.png" in warning
    assert_equal(load_model(trained).variables, load_model(tmp_path / "run").variables)


def test_a_folder_without_an_image(refuse, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "text.png").write_text("this is no image")
    error = refuse(
        train.main, f"--data.dataset={images}", f"--workdir={tmp_path / 'run'}", lines=None
    )
    assert "none of its 1 files is a usable image" in error


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "inf", "1000000", "abc", "", "2x3x4", "0.5"])
def test_impossible_scales(refuse, trained, photos, scale):
    arguments = (f"--workdir={trained}", f"--dataset={photos}", f"--scale={scale}")
    assert "scale" in refuse(evaluate.main, *arguments)


@pytest.mark.parametrize(
    ("main", "flag", "wanted"),
    [
        (train.main, "--run.step=3", "--run.steps"),
        (train.main, "--optimizer.learning_rte=3", "--optimizer.learning-rate"),
        (evaluate.main, "--datase=set5", "--dataset"),
    ],
)
def test_a_misspelt_flag_is_answered_with_the_right_one(refuse, tmp_path, main, flag, wanted):
    error = refuse(main, f"--workdir={tmp_path}", flag, lines=None)
    assert "Perhaps you meant" in error
    assert wanted in error


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ("--run.steps=0", "steps 0"),
        ("--run.save_every=0", "save_every 0"),
        ("--run.keep=0", "keep 0"),
        ("--run.ema=1", "ema 1"),
        ("--data.batch_size=0", "batch_size 0"),
        ("--data.validation=1", "validation 1"),
        ("--task.crop=1", "crop of 1"),
        ("--task.scales=0", "scales (0,)"),
        ("--model.target.frequencies=0", "0 frequencies"),
        ("--data.batch_size=6", "4 devices"),
    ],
)
def test_impossible_settings(refuse, flags, tmp_path, flag, word):
    assert word in refuse(train.main, f"--workdir={tmp_path}", *flags, flag, lines=None)


def test_a_preset_that_does_not_exist(refuse, tmp_path):
    error = refuse(train.main, f"--workdir={tmp_path}", "--preset=face", lines=None)
    assert "faces" in error


def test_too_few_images_to_hold_one_out(refuse, flags, photos, tmp_path):
    (tmp_path / "images").mkdir()
    shutil.copy(photos / "photo_0.png", tmp_path / "images")
    one = [f"--data.dataset={tmp_path / 'images'}", "--data.validation=0.5"]
    error = refuse(train.main, f"--workdir={tmp_path / 'run'}", *flags, *one)
    assert "--data.validation=0" in error


def test_results_cannot_be_written_among_the_images(refuse, trained, photos, flags):
    evaluation = [f"--workdir={trained}", f"--dataset={photos}", "--scale=2"]
    for folder in (photos, photos / "out"):
        error = refuse(evaluate.main, *evaluation, f"--save_dir={folder}")
        assert "lies in the folder of the images" in error and not (photos / "out").exists()
        error = refuse(train.main, f"--workdir={folder}", *flags)
        assert "lies in the folder of the images" in error and not (photos / "out").exists()


def test_flags_of_the_other_task(refuse):
    error = refuse(evaluate.main, "--dataset=sample", "--out=figures")
    assert "--out means nothing to --task=super_resolution: give --save_dir" in error
    for flag in ("--save_dir=figures", "--scale=2", "--methods=bicubic", "--rdn=runs/rdn"):
        error = refuse(evaluate.main, "--task=interpolate", flag)
        assert f"{flag.partition('=')[0]} means nothing to --task=interpolate" in error


def test_places_that_cannot_be_written(refuse, flags, trained, photos, tmp_path):
    (tmp_path / "file").write_text("a file, no folder")
    below = tmp_path / "file" / "x"
    (tmp_path / "folder").mkdir()
    evaluation = [f"--workdir={trained}", f"--dataset={photos}", "--scale=2"]
    for arguments in ([f"--json={below}"], [f"--json={tmp_path / 'folder'}"]):
        error = refuse(evaluate.main, *evaluation, *arguments)  # Before anything is evaluated.
        assert "cannot be written" in error.splitlines()[-1]
    error = refuse(evaluate.main, *evaluation, f"--save_dir={below}", lines=None)
    assert "cannot be written" in error.splitlines()[-1]
    assert "cannot be written" in refuse(train.main, f"--workdir={below}", *flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_processes_that_cannot_be_joined(refuse, flags, tmp_path, monkeypatch):
    monkeypatch.setattr(
        jax.distributed,
        "initialize",
        lambda **kwargs: (_ for _ in ()).throw(ValueError("coordinator_address is missing")),
    )
    error = refuse(train.main, f"--workdir={tmp_path}", *flags, "--distributed=True")
    assert "JAX_COORDINATOR_ADDRESS" in error


def test_ctrl_c_is_one_line(monkeypatch, capsys, trained, photos):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("hyperfunc.data.open_dataset", interrupt)
    with pytest.raises(SystemExit) as exit:
        evaluate.main([f"--workdir={trained}", f"--dataset={photos}"])
    assert exit.value.code == 130
    assert capsys.readouterr().err.splitlines() == ["interrupted"]


# Numbers that are not finite


def break_batches(monkeypatch, number):
    """Make the phase of one batch NaN, so that its predictions are NaN, too."""
    make_batches = batches.make_batches

    def broken(*args, start=0, **kwargs):
        batches = make_batches(*args, start=start, **kwargs)
        for i, batch in enumerate(batches, start + 1):
            yield {**batch, "phase": batch["phase"] * np.float32(np.nan if i == number else 1)}

    monkeypatch.setattr(batches, "make_batches", broken)


@pytest.mark.parametrize("log_every", [1, 1000])
def test_a_loss_that_is_not_finite_stops_the_run(refuse, flags, tmp_path, monkeypatch, log_every):
    break_batches(monkeypatch, 3)
    settings = [f"--run.log_every={log_every}", "--run.save_every=1", "--run.keep=9"]
    error = refuse(train.main, f"--workdir={tmp_path}", *flags, *settings, lines=None)
    line = error.splitlines()[-1]
    assert line.startswith("error: the ") and "is nan at step 3" in line
    assert "the checkpoint of step 2 is good" in line
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "2"]
    variables = load_model(tmp_path).variables
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == ([1, 2] if log_every == 1 else [])


def test_a_gradient_that_is_not_finite_is_never_saved(flags, experiment, tmp_path, monkeypatch):
    # The loss is finite and its gradient is not: the parameters would be NaN before the loss is.
    monkeypatch.setattr(
        step, "pixel_loss", lambda loss, a, b: jax.numpy.sqrt(0 * a.sum(axis=(1, 2, 3)))
    )
    with pytest.raises(UserError, match="gradient norm is nan at step 1: nothing is saved"):
        loop.train(experiment, tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_learning_rate_far_too_high_stops_the_run(refuse, flags, tmp_path):
    high = ["--optimizer.learning_rate=1e30", "--run.save_every=1"]
    error = refuse(train.main, f"--workdir={tmp_path}", *flags, *high, lines=None)
    assert "at step 1" in error and "--optimizer.learning_rate" in error
    assert not list((tmp_path / "checkpoints").iterdir())
