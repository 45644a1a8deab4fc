"""A small random model, and a way to run the commands with it."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from hyperfunc.commands import main
from hyperfunc.data import SuperResolution, Task
from hyperfunc.experiment import Experiment, Network, Workdir, init_variables
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork
from hyperfunc.upscaling import Upscaler

# A random model that changes the bicubic enlargement by a few of 255 levels.
MODEL = PixelHypernetwork(EDSR(width=8, blocks=1), FourierField(frequencies=4), branch_scale=0.01)

UPSCALERS: dict[tuple[int | None, str, bool], Upscaler] = {}
"""Upscalers by their options, shared by all tests."""


@pytest.fixture(scope="session")
def save_model() -> Callable[..., Path]:
    """A function that saves the initial parameters of a model as a checkpoint of step 7."""

    def save(path: Path, task: Task, model: Network = MODEL, seed: int = 0) -> Path:
        experiment = Experiment(model=model, task=task)
        variables = init_variables(experiment, jax.random.key(seed))
        with Workdir(path) as workdir:
            workdir.save(7, experiment, variables, {"nothing": np.zeros(1)}, None)
        return path

    return save


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, save_model: Callable[..., Path]) -> Path:
    """The workdir of the random model."""
    return save_model(tmp_path_factory.mktemp("run"), SuperResolution(scales=(2, 3), crop=8))


@pytest.fixture
def one_upscaler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share one upscaler among all tests, so that each shape is compiled once."""

    def of_model(model, *, largest_tile=None, wrap="", linear=False):
        if (largest_tile, wrap, linear) not in UPSCALERS:
            UPSCALERS[largest_tile, wrap, linear] = Upscaler(
                model.hypernetwork,
                model.variables,
                devices=jax.devices()[:2],
                largest_tile=largest_tile,
                wrap=wrap,
                linear=linear,
            )
        return UPSCALERS[largest_tile, wrap, linear]

    monkeypatch.setattr(Upscaler, "of_model", of_model)


@pytest.fixture
def run(
    checkpoint: Path, one_upscaler: None, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command; return its exit code, stdout and stderr."""

    def run(*args: object) -> tuple[int, str, str]:
        words = [str(arg) for arg in args]
        if words[0] == "upscale" and "--checkpoint" not in words:
            words += ["--checkpoint", str(checkpoint)]
        try:
            main(words)
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def folder(tmp_path, draw):
    """A folder with a subfolder and five images of five formats."""
    root = tmp_path / "in"
    (root / "below").mkdir(parents=True)
    image = Image.fromarray(draw(0, (20, 24)))
    image.save(root / "a.png")
    image.save(root / "b.jpg")
    image.convert("L").save(root / "c.tif")
    image.convert("RGBA").save(root / "below" / "d.webp")
    image.save(root / "below" / "e.bmp")
    return root
