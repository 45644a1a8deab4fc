"""Settings for all tests, and the small experiment that most of them share."""

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from hyperfunc import amx
from hyperfunc.backbones import EDSR
from hyperfunc.config import Data, Experiment, Run
from hyperfunc.hypernetwork import PixelHypernetwork
from hyperfunc.targets import FourierField
from hyperfunc.tasks import SuperResolution

# Sharding is tested on several devices, without an accelerator. (This raises if the backend has
# started, so importing hyperfunc must not do that.)
jax.config.update("jax_num_cpu_devices", 4)
# Tests compile much and compute little: the first two of these halve the time of compiling, and
# programs in one piece instead of 32 take a little less. (XLA aborts at a flag that it does not
# know, and a later one may not.)
jax.config.update("jax_disable_most_optimizations", True)
if jax.__version_info__[:2] == (0, 10):
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
# Tracing makes many small objects that stay, among which garbage need not be sought at every 700.
gc.set_threshold(100_000, 20, 20)
# Broadcasts between ranks have to be written out, where they can be seen.
jax.config.update("jax_numpy_rank_promotion", "raise")

COMPILED_IN = 0.2
"""What takes longer to compile is kept, in seconds."""
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


@pytest.fixture
def needs_amx() -> None:
    """Skip a test on machines that cannot run it."""
    if amx.NEEDED - amx._cpu_features() or not shutil.which("g++"):
        pytest.skip("needs AMX and g++")


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """What was compiled once is not compiled again, by any worker or process that a test starts."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder if worker_id == "master" else folder.parent) / "compiled"
    folder.mkdir(exist_ok=True)
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
