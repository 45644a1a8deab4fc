"""Reconstruct faces and interpolate between them, by the commands."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

import evaluate
from hyperfunc.errors import UserError
from hyperfunc.experiment import load_model
from hyperfunc.experiment.config import Data, Run
from hyperfunc.experiment.paper_presets import FACES
from hyperfunc.images import read_image, write_image
from hyperfunc.networks import EDSR, CosineMLP, PatchHypernetwork
from hyperfunc.pixels import WHOLE_IMAGE, psnr_rgb
from hyperfunc.training import loop as training

COUNT = 5


@pytest.fixture(scope="module")
def data(tmp_path_factory, draw):
    """Archives of drawn images like those of `faces`: five test images, ten training images."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "faces").mkdir()
    for split, count in (("test", COUNT), ("train", 2 * COUNT)):
        with zipfile.ZipFile(folder / "faces" / f"{split}.zip", "w") as archive:
            for i in range(count):
                with archive.open(f"{i:06}.png", "w") as file:
                    Image.fromarray(draw(i + count, (154, 146))).save(file, "png")
    return folder


@pytest.fixture(scope="module")
def faces_run(tmp_path_factory, data):
    """The workdir of a tiny `faces` preset after two steps."""
    network = PatchHypernetwork(
        EDSR(width=4, blocks=0),
        CosineMLP((6,), normalization="batch"),
        WHOLE_IMAGE,
        branch_width=4,
        branch_convs=1,
        code=3,
        branch_scale=1.0,
    )
    experiment = dataclasses.replace(
        FACES,
        model=network,
        data=Data(dataset="faces", batch_size=4, validation=0.0),
        run=Run(steps=2, loss="l2"),
    )
    workdir = tmp_path_factory.mktemp("runs") / "faces"
    training.train(experiment, workdir, data_dir=data)
    return workdir


@pytest.mark.slow
def test_faces_are_reconstructed_and_interpolated(faces_run, data, tmp_path, capsys):
    file, figures = tmp_path / "new" / "out.json", tmp_path / "figures"
    evaluate.main(
        [
            "--task=interpolate",
            "--dataset=faces",
            f"--data_dir={data}",
            f"--workdir={faces_run}",
            f"--json={file}",
            f"--out={figures}",
            f"--pairs={COUNT}",
        ]
    )

    def refuse_constant(constant):
        raise AssertionError(f"{constant} is no JSON")

    result = json.loads(file.read_text(), parse_constant=refuse_constant)
    assert list(file.parent.iterdir()) == [file]
    schema = {
        "reconstruction": ["psnr", "ssim", "images"],
        "frechet": ["real", "reconstruction", "weights_t50", "pixels_t50"],
        "gradient_energy": ["weights_t50", "pixels_t50"],
    }
    for part, names in schema.items():
        numbers = [result[part][name] for name in names]
        assert np.isfinite(numbers).all(), part
    assert result["reconstruction"]["images"] == result["pairs"] == COUNT
    assert result["step"] == load_model(faces_run).step == 2
    assert result["gradient_energy"]["pixels_t50"] <= 1.001
    printed = capsys.readouterr().out
    assert f"PSNR {result['reconstruction']['psnr']:.2f} dB" in printed
    assert f"{result['frechet']['weights_t50']:.3f}" in printed

    side = 64 + 4  # A face, and the gap.
    shapes = {
        "figure1_weights_and_pixels": (2, 9),
        "figure6a_weights": (5, 9),
        "figure6b_pixels": (5, 9),
        "figure7_layerwise": (2, 9),
        "failures": (5, 9),
        "reconstruction": (2, COUNT),
    }
    assert {path.stem for path in figures.iterdir()} == {*shapes, "walk"}
    for name, (rows, cols) in shapes.items():
        assert read_image(figures / f"{name}.png").shape == (rows * side, cols * side, 3), name
    with Image.open(figures / "walk.webp") as animation:
        assert animation.size == (128, 128) and animation.is_animated

    # The PSNR agrees with the figure of reconstructions.
    picture = read_image(figures / "reconstruction.png")
    picture = picture.reshape(2, side, COUNT, side, 3).swapaxes(1, 2)[:, :, 2:-2, 2:-2]
    scores = [psnr_rgb(*pair) for pair in zip(*picture, strict=True)]
    assert result["reconstruction"]["psnr"] == pytest.approx(np.mean(scores))


def test_a_run_of_another_task(refuse, trained, faces_run, data, photos):
    walk = ["--task=interpolate", "--dataset=faces", f"--data_dir={data}"]
    error = refuse(evaluate.main, *walk, f"--workdir={trained}")
    assert str(trained) in error and "trained for SuperResolution, not for Reconstruct" in error
    error = refuse(evaluate.main, f"--dataset={photos}", f"--workdir={faces_run}", "--scale=2")
    assert str(faces_run) in error and "trained for Reconstruction, not for SuperResol" in error


def test_a_task_that_does_not_exist(refuse, trained):
    error = refuse(evaluate.main, "--task=morph", f"--workdir={trained}", lines=None)
    assert "interpolate" in error


def test_datasets_that_cannot_be_evaluated(refuse, faces_run, draw, tmp_path):
    walk = ["--task=interpolate", f"--workdir={faces_run}"]
    assert "faces" in refuse(evaluate.main, *walk, "--dataset=faces", f"--data_dir={tmp_path}")
    write_image(tmp_path / "one" / "only.png", draw(0, (64, 64)))
    assert "too few" in refuse(evaluate.main, *walk, f"--dataset={tmp_path / 'one'}")


def test_a_folder_is_split_into_test_images_and_others(faces_run, draw, tmp_path, monkeypatch):
    for i in range(9):
        write_image(tmp_path / f"{i}.png", draw(i, (64, 64)))
    sets = []

    def note(model, images, **_):
        sets.extend([list(images.test.names), images.test_large, list(images.others.names)])
        raise UserError("enough")

    monkeypatch.setattr("hyperfunc.evaluation.evaluate_weight_space", note)
    with pytest.raises(SystemExit):
        evaluate.main(["--task=interpolate", f"--workdir={faces_run}", f"--dataset={tmp_path}"])
    assert sets == [["0", "3", "6"], None, ["1", "2", "4", "5", "7", "8"]]


def test_a_folder_of_several_sizes(refuse, faces_run, photos):
    walk = ["--task=interpolate", f"--workdir={faces_run}", f"--dataset={photos}"]
    assert "must have one size" in refuse(evaluate.main, *walk)
