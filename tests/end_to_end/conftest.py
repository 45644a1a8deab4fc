"""Small runs of the two commands, in this process and in others."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

import train
from hyperfunc.config import Experiment

OPTIMIZE_LITTLE = "jax_disable_most_optimizations"
ROOT = Path(train.__file__).parent


@pytest.fixture(scope="session")
def flags(photos: Path) -> list[str]:
    """Flags for train.py: the `sr` preset, made tiny, and four steps of one scale."""
    return [
        f"--data.dataset={photos}",
        "--data.batch_size=4",
        "--data.validation=0",
        "--model.backbone.width=16",  # Muon leaves narrower kernels to Adam.
        "--model.backbone.blocks=1",
        "--model.target.frequencies=4",
        "--task.scales=2",
        "--task.crop=8",
        "--run.steps=4",
        "--run.save_every=2",
        "--run.log_every=1",
    ]


@pytest.fixture(scope="session")
def experiment(flags: list[str]) -> Experiment:
    """The experiment of these flags."""
    return train.parse(["--workdir=unused", *flags]).experiment


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, flags: list[str]) -> Path:
    """A workdir after the four steps, with checkpoints of steps 2 and 4. Do not write into it."""
    workdir = tmp_path_factory.mktemp("runs") / "trained"
    train.main([f"--workdir={workdir}", *flags])
    return workdir


@pytest.fixture(scope="session")
def start_python(compilation_cache: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts ``python -c code arguments...`` with JAX set up as it is in this process."""

    def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        settings = {
            "JAX_NUM_CPU_DEVICES": str(jax.device_count()),
            "JAX_DISABLE_MOST_OPTIMIZATIONS": str(jax.config.values[OPTIMIZE_LITTLE]),
            "JAX_COMPILATION_CACHE_DIR": str(compilation_cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **settings, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused, and returns the line that it prints."""

    def run(main: Callable, *arguments: object, lines: int = 1) -> str:
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        error = capsys.readouterr().err
        assert exit.value.code == 2, error
        assert "Traceback" not in error
        bars = ("step/s", "image/s")  # Of progress.
        written = [
            part
            for part in re.split(r"[\r\n]+", error)
            if part.strip() and not any(bar in part for bar in bars)
        ]
        if lines:
            assert len(written) == lines and written[0].startswith("error: "), error
        return error

    return run


@pytest.fixture(scope="session")
def assert_equal() -> Callable[..., None]:
    """Asserts that two trees of arrays are the same, bit for bit."""

    def check(a, b) -> None:
        paths_and_leaves = zip(
            jax.tree_util.tree_leaves_with_path(a),
            jax.tree_util.tree_leaves_with_path(b),
            strict=True,
        )
        for (path, x), (other_path, y) in paths_and_leaves:
            assert path == other_path
            np.testing.assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))

    return check


@pytest.fixture(scope="session")
def distance() -> Callable[..., float]:
    """The Euclidean distance of two trees of arrays."""

    def measure(a, b) -> float:
        squares = jax.tree.map(
            lambda x, y: np.square(np.asarray(x, float) - np.asarray(y, float)).sum(), a, b
        )
        return float(np.sqrt(sum(jax.tree.leaves(squares))))

    return measure
