"""Settings for all tests, and the fixtures that tests of several rooms share."""

import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import train
from hyperfunc.data import SuperResolution
from hyperfunc.experiment import Experiment
from hyperfunc.experiment.config import Data, Run
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork

# Tests neither use the programs that the user's commands have kept, nor add to them.
os.environ["HYPERFUNC_CACHE"] = "0"
# Sharding is tested on several devices, without an accelerator. (This raises if the backend has
# started, so importing hyperfunc must not do that.)
jax.config.update("jax_num_cpu_devices", 4)
# Tests compile much and compute little: the first two of these halve the time of compiling, and
# programs in one piece instead of 32 take a little less. (XLA aborts at a flag that it does not
# know, and a later version may not know these.) With HYPERFUNC_TEST_OPTIMIZED=1 programs are
# compiled as users compile them.
if not os.environ.get("HYPERFUNC_TEST_OPTIMIZED"):
    jax.config.update("jax_disable_most_optimizations", True)
    if jax.__version_info__[:2] == (0, 10):
        flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
# Tracing makes many small objects that stay, among which garbage need not be sought at every 700.
gc.set_threshold(100_000, 20, 20)
# Broadcasts between ranks have to be written out, where they can be seen.
jax.config.update("jax_numpy_rank_promotion", "raise")

COMPILED_IN = 0.02
"""What takes longer to compile is kept, in seconds."""
COMPILED_BYTES = 2**30
"""If what was kept takes more, it is deleted before the next tests."""
Draw = Callable[..., np.ndarray]


def draw_photo(seed: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """A small picture [h, w, 3], uint8: smooth shading, a few discs with edges, and a grating."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    image = 0.5 + 0.3 * np.stack(
        [np.cos(a * y + b * x + c) for a, b, c in rng.uniform(-4, 4, size=(3, 3))], axis=-1
    )
    for centre_y, centre_x, radius in rng.uniform(0.1, 0.9, size=(4, 3)):
        inside = (y - centre_y) ** 2 + (x - centre_x) ** 2 < (0.3 * radius) ** 2
        image = np.where(inside[..., None], rng.uniform(size=3), image)
    stripes = (y > 0.75) & (np.sin(60 * x * rng.uniform(0.5, 1.0)) > 0)
    image = np.where(stripes[..., None], 0.8 * image, image)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def pytest_configure(config: pytest.Config) -> None:
    """Delete what earlier runs compiled, if it is too much. Workers start after this."""
    if hasattr(config, "cache") and not hasattr(config, "workerinput"):
        folder = config.cache.mkdir("compiled")
        if sum(file.stat().st_size for file in folder.iterdir()) > COMPILED_BYTES:
            shutil.rmtree(folder)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What was compiled once is not compiled again, by any worker, process or later run.

    It is forgotten by ``pytest --cache-clear``, and not shared with ``-p no:cacheprovider``.
    """
    if hasattr(pytestconfig, "cache"):
        folder = pytestconfig.cache.mkdir("compiled")
    else:
        folder = tmp_path_factory.mktemp("compiled")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", COMPILED_IN)
    return folder


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Draws pictures: ``draw(seed, (height, width))``."""
    return draw_photo


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six drawn PNGs of different sizes. Shared by all tests: do not write into it."""
    folder = tmp_path_factory.mktemp("photos")
    for i, size in enumerate([(64, 64), (72, 96), (96, 64), (80, 80), (64, 88), (90, 70)]):
        Image.fromarray(draw_photo(i, size)).save(folder / f"photo_{i}.png")
    return folder


@pytest.fixture
def tiny_experiment(photos: Path) -> Experiment:
    """An experiment that trains in seconds: change it with ``dataclasses.replace``."""
    return Experiment(
        model=PixelHypernetwork(EDSR(width=8, blocks=1), FourierField(frequencies=4)),
        task=SuperResolution(scales=(2, 3), crop=8),
        data=Data(dataset=str(photos), batch_size=4, validation=0.2, threads=1),
        run=Run(steps=4, log_every=1, save_every=2, validate_every=4),
    )


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
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(COMPILED_IN),
            "PYTHONFAULTHANDLER": "1",  # What crashes in C says where.
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
        announcements = ("loading ", "reading ", "compiling ", "computing ")
        written = [
            part
            for part in re.split(r"[\r\n]+", error)
            if part.strip()
            and not part.startswith(announcements)
            and not any(bar in part for bar in bars)
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
