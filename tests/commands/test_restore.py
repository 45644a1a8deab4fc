"""`restore` with a small random model: `upscale` at scale 1 with another checkpoint."""

import json

import jax
import numpy as np
import pytest

import hyperfunc
from hyperfunc.commands import main
from hyperfunc.data import Degradation, SuperResolution
from hyperfunc.experiment import Experiment, exported, init_variables, load_model, to_dict
from hyperfunc.experiment.exported import Exported, write_exported
from hyperfunc.images import read_image, write_image
from hyperfunc.networks import FourierField, HalfEDSR, PixelHypernetwork
from hyperfunc.upscaling import Upscaler

TASK = SuperResolution(scales=(1, 2), crop=8, degradation=Degradation(noise=1.0))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that makes a change that can be seen, among the bundled ones."""
    network = PixelHypernetwork(
        HalfEDSR(width=4, blocks=1), FourierField(frequencies=4), base="corrected", branch_scale=0.1
    )
    experiment = Experiment(model=network, task=TASK)
    variables = jax.device_get(init_variables(experiment, jax.random.key(0)))
    correction = variables["params"]["correction"]
    correction["kernel"] = np.random.default_rng(0).normal(0, 0.05, correction["kernel"].shape)
    correction["kernel"] = correction["kernel"].astype(np.float32)
    folder = tmp_path_factory.mktemp("bundled")
    written = Exported.of(7, to_dict(experiment), network.reads)
    write_exported(folder / "restore", written, variables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exported, "BUNDLED", folder)
        yield load_model("restore")


@pytest.fixture
def noise():
    """Pixels of high contrast: their neighbours do not bound what the model makes of them."""
    return np.random.default_rng(1).integers(64, 192, (21, 24, 3), np.uint8)


@pytest.fixture
def image(tmp_path, noise):
    """A file, and its pixels."""
    write_image(tmp_path / "a.png", noise)
    return tmp_path / "a.png", noise


def test_an_image_is_restored_at_its_size_or_enlarged(model, image, tmp_path):
    path, pixels = image
    report = tmp_path / "report.json"
    main(["restore", str(path), str(tmp_path / "b.png"), f"--report={report}"])
    expected = Upscaler(model.hypernetwork, model.variables)(pixels, (21, 24))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), expected)
    assert np.abs(expected.astype(int) - pixels).mean() > 2
    assert json.loads(report.read_text())["command"] == "restore"
    main(["restore", str(path), str(tmp_path / "c.png"), "--size=48x42"])
    assert read_image(tmp_path / "c.png").shape == (42, 48, 3)


def test_strength_mixes_with_the_input(model, image, tmp_path, capsys):
    path, pixels = image
    results = {}
    for strength in (0, 0.5, 1):
        main(["restore", str(path), str(tmp_path / "b.png"), f"--strength={strength}"])
        results[strength] = read_image(tmp_path / "b.png").astype(int)
    assert capsys.readouterr().out.count("made again") == 2
    np.testing.assert_array_equal(results[0], pixels)
    mixed = np.abs(results[0.5] - 0.5 * (results[0] + results[1]))
    assert mixed[(results[1] > 0) & (results[1] < 255)].max() <= 1.01
    assert np.abs(results[1] - results[0]).max() > 5


def test_represent_restores(model, noise):
    function = hyperfunc.represent(noise, checkpoint=str(model.path))
    restored = np.asarray(function.render(21, 24)).clip(0, 1)
    upscaled = Upscaler(model.hypernetwork, model.variables)(noise, (21, 24))
    assert np.abs(255 * restored - upscaled).max() < 0.6


def test_what_cannot_be_restored(model, image, tmp_path, refuse, checkpoint):
    path, _ = image
    target = tmp_path / "b.png"
    assert "--strength 2: give a number from 0 to 1" in refuse(
        main, "restore", path, target, "--strength=2"
    )
    assert "a function is rendered as it is" in refuse(main, "restore", "a.hfn", target)
    assert "restores nothing that a strength could weaken" in refuse(
        main, "restore", path, target, "--strength=0.5", f"--checkpoint={checkpoint}"
    )
