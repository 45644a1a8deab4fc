"""DnCNN is trained and evaluated by the commands that train and evaluate `restore`."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import evaluate
import train
from hyperfunc.data import SuperResolution
from hyperfunc.evaluation import load_restorers
from hyperfunc.evaluation.damage import observe
from hyperfunc.experiment import PRESETS, load_model
from hyperfunc.images import read_image, write_image
from hyperfunc.networks import DnCNN
from hyperfunc.pixels import psnr_rgb
from hyperfunc.training import make_init
from hyperfunc.values import to_integers


@pytest.fixture(scope="module")
def run(tmp_path_factory, photos):
    """The workdir of a small network after five steps, validated on small crops."""
    workdir = tmp_path_factory.mktemp("runs") / "dncnn"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SuperResolution, "validation_side", 32)
        train.main(
            [
                "--preset=dncnn",
                f"--data.dataset={photos}",
                f"--workdir={workdir}",
                "--model.depth=3",
                "--model.width=4",
                "--task.crop=8",
                "--data.batch_size=4",
                "--data.validation=0.2",
                "--optimizer.learning_rate=0.03",
                "--run.steps=5",
                "--run.log_every=1",
                "--run.validate_every=5",
            ]
        )
    return workdir


@pytest.fixture(scope="module")
def images(tmp_path_factory, draw):
    """Two images of one size, so that each method is compiled once."""
    folder = tmp_path_factory.mktemp("images")
    for i in range(2):
        write_image(folder / f"{i}.png", draw(i, (32, 32)))
    return folder


def test_the_preset_has_the_task_the_data_and_the_loss_of_restore():
    ours, theirs = PRESETS["restore"], PRESETS["dncnn"]
    assert theirs.task == dataclasses.replace(ours.task, scales=(1,), protocol_phase=1.0)
    assert theirs.data == ours.data and theirs.run == ours.run


def test_it_is_trained(run, distance):
    model = load_model(run)
    assert model.network == DnCNN(depth=3, width=4) and model.step == 5
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([line["loss"] for line in lines if "loss" in line]).all()
    (validated,) = [line for line in lines if "validation/psnr" in line]
    # It is validated by the damage that validates `restore`, where nothing is enlarged.
    scores = [key.removeprefix("validation/psnr_") for key in validated if "psnr_" in key]
    damage = ["noise15", "noise25", "noise50", "jpeg20", "jpeg40", "blur"]
    assert scores == [f"{name}_x1" for name in ("clean", *damage)]
    start = jax.jit(make_init(model.experiment))()
    assert distance(start.params, model.variables["params"]) > 1e-4
    assert distance(start.batch_stats, model.variables["batch_stats"]) > 1e-2


def test_it_is_described_only_if_it_is_measured(run, images, tmp_path):
    file = tmp_path / "out.json"
    flags = ["--task=denoise", f"--dataset={images}", f"--dncnn={run}", f"--json={file}"]
    evaluate.main([*flags, "--level=20", "--methods=observed"])
    assert json.loads(file.read_text())["dncnn"] is None


def test_its_numbers_stand_beside_the_others(run, trained, images, tmp_path, capsys):
    file, methods = tmp_path / "out.json", ["observed", "variation", "dncnn", "hyperfunc"]
    flags = [f"--dataset={images}", f"--workdir={trained}", f"--dncnn={run}", f"--json={file}"]
    flags += ["--task=denoise", "--level=20", f"--save_dir={tmp_path}"]
    evaluate.main([*flags, f"--methods={','.join(methods)}"])
    table, model = json.loads(file.read_text()), load_model(run)
    assert [row["method"] for row in table["rows"]] == methods
    described = {"path": str(model.path), "step": 5, "model": model.fingerprint}
    assert table["dncnn"] == described and table["model"]["step"] == 4
    for name, scored in zip(("0", "1"), table["per_image"], strict=True):
        seen, original = observe(read_image(images / f"{name}.png"), "denoise", 20)
        restored = np.asarray(model.network.apply(model.variables, seen.pixels[None]))[0]
        expected = psnr_rgb(original, to_integers(restored.clip(0, 1), np.uint8))
        assert scored["dncnn"] == pytest.approx(expected, abs=0.01)
    psnr = [row["psnr"] for row in table["rows"]]
    assert abs(psnr[2] - psnr[0]) > 0.1  # It changes what it sees.
    assert f"\n{'dncnn':<18}{psnr[2]:>8.2f}" in capsys.readouterr().out
    picture = read_image(tmp_path / "0_denoise20_x1.png")
    assert picture.shape[1] == 5 * 64 + 4 * 4  # With the original, and gaps between them.


def test_it_is_measured_where_it_is_given(run):
    model = load_model(run)
    others = ["observed", "non-local", "wavelets", "variation"]
    for dncnn, more in ((None, []), (model, ["dncnn"])):
        restorers, _ = load_restorers(None, "denoise", 1.0, checkpoint="restore", dncnn=dncnn)
        assert list(restorers) == [*others, *more, "hyperfunc"]


def test_a_grey_image_is_the_mean_of_the_colours(run, draw):
    model = load_model(run)
    restorers, _ = load_restorers(["dncnn"], "deblock", 1.0, checkpoint="", dncnn=model)
    seen, original = observe(draw(0, (32, 32)), "deblock", 20)
    restored = restorers["dncnn"](seen, (32, 32))
    colours = model.network.apply(model.variables, np.repeat(seen.pixels, 3, axis=2)[None])[0]
    assert restored.shape == original.shape == (32, 32, 1)
    expected = np.asarray(colours).mean(axis=2, keepdims=True).clip(0, 1)
    np.testing.assert_allclose(restored, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--task=denoise --methods=dncnn", "has to be trained: give its training run as --dncnn"),
        ("--task=deblur --dncnn={trained}", "give the training run of --preset=dncnn as --dncnn"),
        ("--task=deblock --dncnn={run} --scale=2", "DnCNN enlarges nothing, and the scale is 2"),
        ("--task=denoise --methods=dncnn --scale=2", "at scale 2 has no 'dncnn'"),
        ("--task=inpaint --dncnn={run}", "--dncnn means nothing to --task=inpaint"),
        ("--task=inpaint --methods=dncnn", "--task=inpaint at scale 1 has no 'dncnn'"),
        ("--dncnn={run}", "--dncnn means nothing to --task=super_resolution"),
        ("--task=denoise --workdir={run}", "holds DnCNN for scale 1 only"),
    ],
)
def test_what_it_cannot_do(refuse, run, trained, images, arguments, named):
    words = arguments.format(run=run, trained=trained).split()
    assert named in refuse(evaluate.main, f"--dataset={images}", *words)


def test_it_is_trained_at_scale_1_only(refuse, tmp_path):
    words = ["--preset=dncnn", f"--workdir={tmp_path / 'run'}", "--task.scales", "1", "2"]
    assert "set --task.scales 1 and --task.protocol_phase 1" in refuse(train.main, *words, lines=0)
