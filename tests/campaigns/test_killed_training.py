"""Training that is killed again and again ends as if nothing had happened.

python -m tests.campaigns killed_training --count 100
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.campaigns.harness import run_killed
from tests.drawing import draw

STEPS, SAVE_EVERY = 60, 3


def run(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill training so many times, each run until it ends; return what was found."""
    rng = np.random.default_rng(seed)
    (folder / "photos").mkdir()
    for i in range(4):
        Image.fromarray(draw(40, 40, i)).save(folder / "photos" / f"{i}.png")
    assert _train(folder, "compiled", None) == 0
    began = time.monotonic()
    assert _train(folder, "whole", None) == 0
    whole_takes = time.monotonic() - began
    runs, kills, at_start, failures = 0, 0, 0, []
    while kills < count:
        runs += 1
        name, saved = f"killed_{runs}", 0
        while (code := _train(folder, name, float(rng.uniform(0, whole_takes)))) != 0:
            if code is not None:
                failures.append({"kill": kills, "how": f"exit code {code}", "log": _log(folder)})
                break
            kills += 1
            steps = _find_steps(folder / name)
            if max(steps, default=0) < saved:
                failures.append({"kill": kills, "how": f"step {saved} is gone: {steps}"})
            saved = max(steps, default=0)
            at_start += not saved
        failures += [{"run": runs, "how": how} for how in _compare(folder / "whole", folder / name)]
    return {"kills": kills, "runs": runs, "before_the_first_save": at_start, "failures": failures}


def _train(folder: Path, name: str, after: float | None) -> int | None:
    words = f"""--workdir={folder / name} --preset=sr --data.dataset={folder / "photos"}
        --data.batch_size=2 --data.validation=0 --data.threads=1 --model.backbone.width=16
        --model.backbone.blocks=1 --model.target.frequencies=4 --task.scales=2 --task.crop=8
        --run.steps={STEPS} --run.save_every={SAVE_EVERY} --run.log_every=1"""
    return run_killed(["train", *words.split()], folder, after)


def _log(folder: Path) -> str:
    return (folder / "log.txt").read_text()[-1500:]


def _find_steps(workdir: Path) -> list[int]:
    from hyperfunc.experiment.checkpoint_files import find_steps

    return find_steps(workdir)


def _compare(whole: Path, killed: Path) -> list[str]:
    """Compare the ends of two runs bit for bit: all arrays, and the metrics but for the speed."""
    differences = []
    if not (killed / "checkpoints" / str(STEPS)).is_dir():
        return [f"it has no checkpoint of step {STEPS}: {_find_steps(killed)}"]
    for item in ("model", "training"):
        a, b = (_read_arrays(x / "checkpoints" / str(STEPS) / item) for x in (whole, killed))
        if a.keys() != b.keys() or any(not np.array_equal(a[k], b[k]) for k in a):
            differences.append(f"its {item} is another one")
    a, b = (_read_metrics(path) for path in (whole, killed))
    if a != b:
        differences.append(f"its metrics are other ones: {len(b)} lines instead of {len(a)}")
    if list(killed.rglob("*tmp*")):
        differences.append("temporary files are left")
    return differences


def _read_arrays(item: Path) -> dict[str, np.ndarray]:
    import tensorstore as ts

    base = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{item}/"}}
    keys = ts.KvStore.open(base).result().list().result()
    names = {key.decode().rpartition("/")[0] for key in keys}
    store = {name: {"driver": "zarr", "kvstore": {**base, "path": f"{name}/"}} for name in names}
    return {name: ts.open(spec).result().read().result() for name, spec in store.items()}


def _read_metrics(workdir: Path) -> list[dict[str, float]]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "images_per_second"} for x in lines]


@pytest.mark.campaign
def test_killed_training_ends_as_if_undisturbed(tmp_path):
    result = run(4, 0, tmp_path)
    assert result["kills"] >= 4 and not result["failures"]
