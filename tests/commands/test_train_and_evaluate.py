"""`train` and `evaluate`: from a folder of images to a table and pictures."""

import json

import jax
import numpy as np
import pytest
import skimage.data

import evaluate
import train
from hyperfunc.data import tasks
from hyperfunc.experiment import PRESETS, Workdir, load_model, write_model
from hyperfunc.images import read_image, write_image
from hyperfunc.pixels import degrade, imresize, psnr_y, ssim_y


def read_lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", PRESETS)
def test_train_knows_every_preset(name):
    assert train.parse(["--workdir=unused", f"--preset={name}"]).experiment == PRESETS[name]


def test_a_run_leaves_metrics_and_checkpoints(trained):
    lines = read_lines(trained)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert set(line) == {
            "step",
            "loss",
            "gradient_norm",
            "parameter_norm",
            "learning_rate",
            "muon_learning_rate",
            "images_per_second",
        }
        assert np.isfinite(list(line.values())).all()
    assert list((trained / "tensorboard").glob("events.out.tfevents.*"))
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"2", "4"}
    assert load_model(trained).step == 4
    assert load_model(trained, step=2).step == 2


def test_evaluate_writes_a_table_and_pictures(trained, photos, tmp_path, capsys):
    file, pictures = tmp_path / "new" / "folder" / "out.json", tmp_path / "pictures"
    evaluate.main(
        [
            f"--workdir={trained}",
            f"--dataset={photos}",
            "--scale=2",
            f"--json={file}",
            f"--save_dir={pictures}",
        ]
    )
    table = json.loads(file.read_text())
    assert list(table) == ["dataset", "scale", "protocol", "rows", "per_image", "models"]
    (name, model), trained_model = *table["models"].items(), load_model(trained)
    assert (name, model["path"], model["step"]) == ("hyperfunc", str(trained), 4)
    assert model["model"] == trained_model.fingerprint
    assert table["dataset"] == str(photos)
    assert table["scale"] == [2.0, 2.0]
    assert [list(row) for row in table["rows"]] == [
        ["method", "psnr_y", "ssim_y", "seconds", "images"]
    ] * 2
    assert [row["method"] for row in table["rows"]] == ["bicubic", "hyperfunc"]
    assert [row["images"] for row in table["rows"]] == [6, 6]
    names = [f"photo_{i}" for i in range(6)]
    assert [image["image"] for image in table["per_image"]] == names
    assert list(file.parent.iterdir()) == [file]

    # The numbers agree with the written pictures, and with bicubic interpolation.
    assert {path.stem for path in pictures.iterdir()} == {
        f"{name}_x2{suffix}" for name in names for suffix in ("", "_comparison")
    }
    for name, scores in zip(names, table["per_image"], strict=True):
        lr, hr = degrade(read_image(photos / f"{name}.png"), (2.0, 2.0))
        sr = read_image(pictures / f"{name}_x2.png")
        for method, image in (("hyperfunc", sr), ("bicubic", imresize(lr, hr.shape[:2]))):
            assert scores[method]["psnr_y"] == pytest.approx(psnr_y(hr, image, (2, 2)))
            assert scores[method]["ssim_y"] == pytest.approx(ssim_y(hr, image, (2, 2)))
    for row in table["rows"]:
        for metric in ("psnr_y", "ssim_y"):
            values = [scores[row["method"]][metric] for scores in table["per_image"]]
            assert row[metric] == pytest.approx(sum(values) / 6)

    printed = capsys.readouterr().out
    assert f"{table['rows'][1]['psnr_y']:.2f}" in printed


def test_results_at_an_anisotropic_scale_have_the_size_of_the_original(trained, draw, tmp_path):
    write_image(tmp_path / "images" / "photo.png", draw(0, (40, 36)))
    evaluate.main(
        [
            f"--workdir={trained}",
            f"--dataset={tmp_path / 'images'}",
            "--scale=2.5x1",
            f"--save_dir={tmp_path / 'pictures'}",
        ]
    )
    assert read_image(tmp_path / "pictures" / "photo_x2.5x1.png").shape == (40, 36, 3)


@pytest.mark.slow
def test_a_bundled_checkpoint_is_found_by_its_name(tmp_path, capsys):
    write_image(tmp_path / "images" / "astronaut.png", skimage.data.astronaut()[:96, 168:264])
    rows = {}
    for name in ("sr", "sr_paper"):
        flags = [f"--dataset={tmp_path / 'images'}", f"--json={tmp_path / 'out.json'}", "--scale=2"]
        evaluate.main([f"--workdir={name}", *flags])
        rows[name] = json.loads((tmp_path / "out.json").read_text())["rows"]
        bicubic, ours = (row["psnr_y"] for row in rows[name])
        assert ours > bicubic
    assert rows["sr"][1]["psnr_y"] > rows["sr_paper"][1]["psnr_y"]


def test_an_exported_model_works_from_any_folder(
    trained, photos, tmp_path, monkeypatch, assert_equal
):
    write_model(load_model(trained), tmp_path / "shipped")
    (tmp_path / "shipped").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    model, original = load_model("moved"), load_model(trained)
    assert (model.step, model.experiment) == (original.step, original.experiment)
    assert_equal(model.variables, original.variables)

    files = [path for path in (tmp_path / "moved").rglob("*") if path.is_file()]
    parameters = 4 * sum(leaf.size for leaf in jax.tree.leaves(model.variables))
    assert sum(path.stat().st_size for path in files) < 2 * parameters + 30_000
    for path in files:
        assert str(tmp_path).encode() not in path.read_bytes(), path


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "steps", "gain"), [("float32", 100, 3.0), ("bfloat16", 40, 0.5)])
def test_a_model_that_overfits_one_image_beats_bicubic(draw, tmp_path, flags, dtype, steps, gain):
    write_image(tmp_path / "images" / "only.png", draw(7, (48, 48)))
    dataset, workdir = f"{tmp_path / 'images'}", f"--workdir={tmp_path / 'run'}"
    settings = {
        "data.dataset": dataset,
        "model.backbone.dtype": dtype,
        "model.target.frequencies": 16,
        "task.crop": 24,  # At scale 2 that is the whole image: all batches are the same.
        "task.shrink": 1,
        "task.noise": 0,
        "task.flips": False,
        "task.protocol_phase": 1,
        "optimizer.learning_rate": 1e-2,
        "optimizer.muon_learning_rate": 5e-2,
        "optimizer.warmup": 10,
        "run.steps": steps,
        "run.save_every": steps,
    }
    train.main([workdir, *flags, *(f"--{name}={value}" for name, value in settings.items())])
    file = tmp_path / "out.json"
    evaluate.main([workdir, f"--dataset={dataset}", "--scale=2", f"--json={file}"])
    bicubic, ours = (row["psnr_y"] for row in json.loads(file.read_text())["rows"])
    assert ours > bicubic + gain
    losses = [line["loss"] for line in read_lines(tmp_path / "run")]
    assert losses[-1] < 0.7 * losses[0]
    with Workdir(tmp_path / "run") as trained:
        assert trained.read_config(steps).experiment.model.backbone.dtype == dtype
    model = load_model(tmp_path / "run")
    assert model.experiment.model.backbone.dtype == "float32"
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(model.variables))


@pytest.mark.slow
def test_validation_ranks_checkpoints_and_saves_pictures(tmp_path, flags, monkeypatch):
    monkeypatch.setattr(tasks, "VALIDATION_SCALES", (2.0, 2.5, 3.0))  # For less to compile.
    # Logging, saving and validation have different intervals.
    run = [f"--workdir={tmp_path}", *flags, "--data.validation=0.2", "--run.steps=7"]
    intervals = ["--run.log_every=4", "--run.save_every=5", "--run.validate_every=3"]
    train.main([*run, *intervals, "--run.keep=10"])
    lines = read_lines(tmp_path)
    validated = [line for line in lines if "validation/psnr" in line]
    assert [line["step"] for line in lines if "loss" in line] == [4, 7]
    assert [line["step"] for line in validated] == [3, 6, 7]
    for line in validated:
        ranked = [line[f"validation/psnr_x{scale}"] for scale in (2, 3)]
        assert line["validation/psnr"] == pytest.approx(np.mean(ranked))
    steps = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert steps == [3, 5, 6, 7]  # Validated steps are saved, too: one may be the best.
    pictures = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert pictures == [f"validation-{step:07d}.png" for step in (3, 6, 7)]
