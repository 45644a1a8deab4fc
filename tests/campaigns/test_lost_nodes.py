"""`upscale --ray` on two nodes, of which one is lost half way, ends as if nothing had happened.

HYPERFUNC_DATA_DIR=DATA python -m tests.campaigns lost_nodes --count 64

Each node has one core, and is a Ray node of its own on this machine. The photographs are parts of
those in DATA/train.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIZE = (160, 192)
MODEL = "sr"
ROOT = Path(__file__).parents[2]
MARK = "HYPERFUNC_TEST_CLUSTER"
"""A variable by which the processes of the cluster are known."""

ALLOW_WARNINGS = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # Ray warns of its own defaults.
    "ignore::ResourceWarning",  # It leaves files of processes open,
    "ignore:os.fork.*:RuntimeWarning",  # and forks to start them, of which JAX warns.
)


@contextlib.contextmanager
def starting_cluster() -> Iterator[Any]:
    """Start two nodes on this machine, with one core each; the value is a Ray `Cluster`."""
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    os.environ |= {**settings, **os.environ, MARK: str(os.getpid())}
    from ray.cluster_utils import Cluster

    about = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=about)
    try:
        cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def find_actors() -> list[int]:
    """Return the processes of our cluster that enlarge."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_ours = f"{MARK}={os.getpid()}".encode() in (process / "environ").read_bytes()
            if is_ours and b"Enlarger" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@contextlib.contextmanager
def losing(lose: Callable[[], None], folder: Path, after: int) -> Iterator[None]:
    """Call ``lose`` when there are so many outputs in a folder."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            if len(list_outputs(folder)) >= after:
                return lose()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def list_outputs(folder: Path) -> list[Path]:
    """List the pictures of a folder, without temporary files."""
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def count_records(folder: Path) -> Counter[str]:
    """Count how often each output of a folder was made."""
    lines = (folder / ".hyperfunc.jsonl").read_text().splitlines()
    return Counter(json.loads(line)["output"] for line in lines if line.startswith("{"))


def run(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Enlarge so many photographs without Ray, with it, and while a node is lost."""
    from hyperfunc.images import write_image

    for i, pixels in enumerate(_cut_photographs(count, seed)):
        write_image(folder / "in" / f"{i:03}.png", pixels)
    with starting_cluster() as cluster:
        ray = f"--ray={cluster.address}"
        rates = {"plain": _enlarge(folder, "plain"), "ray": _enlarge(folder, "ray", ray)}
        other = next(node for node in cluster.worker_nodes)
        lose = lambda: cluster.remove_node(other)  # noqa: E731
        with losing(lose, folder / "lost", count // 2):
            _enlarge(folder, "lost", ray)
    wanted = list_outputs(folder / "plain")
    different = [path.name for path in wanted if not _is_same(path, folder / "lost" / path.name)]
    again = sorted(name for name, times in count_records(folder / "lost").items() if times > 1)
    return {
        "outputs": len(list_outputs(folder / "lost")),
        "different": different,
        "made_twice": again,
        "images_per_second": {name: round(rate, 3) for name, rate in rates.items()},
        "ray_to_plain": round(rates["ray"] / rates["plain"], 3),
    }


def _cut_photographs(count: int, seed: int) -> Iterator[np.ndarray]:
    from hyperfunc.images import read_photo

    rng = np.random.default_rng(seed)
    paths = sorted(Path(os.environ["HYPERFUNC_DATA_DIR"], "train").rglob("*.[jp][pn]g"))
    for path in (paths[i] for i in rng.permutation(len(paths))[:count]):
        pixels = read_photo(path).pixels[..., :3]
        top, left = (int(rng.integers(n - m + 1)) for n, m in zip(pixels.shape, SIZE, strict=False))
        yield pixels[top : top + SIZE[0], left : left + SIZE[1]]


def _enlarge(folder: Path, target: str, *flags: str) -> float:
    """Enlarge the photographs; return how many a second, from the first output to the last."""
    words = [str(folder / "in"), str(folder / target), "--scale=2", f"--checkpoint={MODEL}"]
    command = [sys.executable, "-m", "hyperfunc", "upscale", *words, *flags]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    times = sorted(path.stat().st_mtime for path in list_outputs(folder / target))
    return (len(times) - 1) / (times[-1] - times[0])


def _is_same(path: Path, other: Path) -> bool:
    from hyperfunc.images import read_photo

    a, b = (read_photo(x).pixels.astype(int) for x in (path, other))
    return int(np.abs(a - b).max()) <= 1  # Programs for other numbers of devices round differently.


@ALLOW_WARNINGS
@pytest.mark.campaign
@pytest.mark.skipif("HYPERFUNC_DATA_DIR" not in os.environ, reason="needs photographs")
def test_a_lost_node_loses_nothing(tmp_path):
    began = time.monotonic()
    result = run(16, 0, tmp_path)
    assert result["outputs"] == 16 and not result["different"], result
    assert len(result["made_twice"]) <= 1, (result, time.monotonic() - began)
