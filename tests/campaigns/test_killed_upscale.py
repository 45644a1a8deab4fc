"""`upscale FOLDER` that is killed leaves outputs that are whole or absent, and nothing stale.

python -m tests.campaigns killed_upscale --count 100
"""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaigns.harness import run_killed
from tests.drawing import draw

IMAGES = 24
FORMATS = ("png", "jpg", "tif", "webp")
LARGEST_DIFFERENCE = 3
"""Levels by which an output may differ from the undisturbed one: images that are rendered together
share a shape, which rounds differently."""


def run(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill the command so many times, and finish each time; return what was found."""
    from hyperfunc.images import write_image

    rng, failures = np.random.default_rng(seed), []
    for i in range(IMAGES):
        size = 24 + 3 * (i % 5), 32
        write_image(folder / "in" / str(i % 3) / f"{i}.{FORMATS[i % 4]}", draw(*size, i))
    for scale in (2, 3):
        assert _upscale(folder, f"whole_{scale}", scale, None) == 0
    began = time.monotonic()
    assert _upscale(folder, "again", 2, None) == 0
    takes, found = time.monotonic() - began, 0
    wanted = {scale: _read(folder / f"whole_{scale}") for scale in (2, 3)}
    kills = 0
    while kills < count:
        # Outputs of another request lie there already.
        shutil.rmtree(folder / "out", ignore_errors=True)
        shutil.copytree(folder / "whole_3", folder / "out")
        while (code := _upscale(folder, "out", 2, float(rng.uniform(0, takes)))) is None:
            kills += 1
            outputs = _read(folder / "out")
            found += sum(outputs[x].shape == wanted[2][x].shape for x in wanted[2] if x in outputs)
            for name, pixels in outputs.items():
                if not any(_is_same(pixels, wanted[scale].get(name)) for scale in wanted):
                    failures.append({"kill": kills, "how": f"{name} is not whole"})
        outputs = _read(folder / "out")
        stale = [x for x in wanted[2] if not _is_same(outputs.get(x), wanted[2][x])]
        if code or stale or outputs.keys() != wanted[2].keys():
            log = (folder / "log.txt").read_text()[-1500:]
            names = stale or sorted(outputs.keys() ^ wanted[2].keys())
            failures.append({"kill": kills, "how": f"exit code {code}: {names}", "log": log})
    return {"kills": kills, "outputs_found_after_kills": found, "failures": failures}


def _upscale(folder: Path, target: str, scale: int, after: float | None) -> int | None:
    words = ["upscale", str(folder / "in"), str(folder / target), f"--scale={scale}"]
    return run_killed(words, folder, after)


def _read(folder: Path) -> dict[str, np.ndarray | None]:
    """Read all files of a folder, temporary ones of killed processes and records left out."""
    from hyperfunc.errors import UserError
    from hyperfunc.images import read_photo

    pictures: dict[str, np.ndarray | None] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            try:
                pictures[str(path.relative_to(folder))] = read_photo(path).pixels
            except UserError:
                pictures[str(path.relative_to(folder))] = None
    return pictures


def _is_same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None or a.shape != b.shape:
        return False
    return int(np.abs(a.astype(int) - b).max()) <= LARGEST_DIFFERENCE


@pytest.mark.campaign
def test_killed_upscale_leaves_outputs_whole_or_absent(tmp_path):
    result = run(4, 0, tmp_path)
    assert result["kills"] >= 4 and not result["failures"]
