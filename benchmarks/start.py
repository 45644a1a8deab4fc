"""How long commands take from the start to the end of their process: docs/results/start.json.

python -m benchmarks.start --json=docs/results/start.json

Times are medians of whole processes, run in turns, on a machine that does nothing else. Ratios are
to a process that imports JAX and asks for its devices. A first run has an empty cache of compiled
programs; a second run has what the first one left. Files are in the memory of the system.
"""

import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tyro

from hyperfunc.cache import SWITCH
from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.files import save_json
from hyperfunc.images import write_image

JAX = [sys.executable, "-c", "import jax; jax.devices()"]
HYPERFUNC = [sys.executable, "-m", "hyperfunc"]

SIZES = [(64 + 7 * i % 65, 64 + 13 * i % 65) for i in range(20)]
"""(height, width) of the images of a folder; each comes three times."""

IN_ONE_PROCESS = """
import json, sys, time
import hyperfunc

def timed(function):
    began = time.perf_counter()
    result = function()
    return result, time.perf_counter() - began

f, seconds = timed(lambda: hyperfunc.represent(sys.argv[1]))
times = {"represent": seconds}
for scale in (2, 3, 4, 2.7):
    times[f"render x{scale:g}"] = timed(lambda: f.render(scale=scale))[1]
print(json.dumps(times))
"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Time whole processes.

    Attributes:
        json: the file of the results.
        repeats: of each process.
    """

    json: Path | None = None
    repeats: int = 5


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors(), tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.repeats)
        print(json.dumps(result, indent=1))
        if arguments.json is not None:
            save_json(arguments.json, result)


def measure(folder: Path, repeats: int) -> dict[str, Any]:
    """Everything, as the JSON file has it."""
    photo, photos = make_images(folder)
    upscale = [*HYPERFUNC, "upscale", "--overwrite", "--quiet"]
    commands = {
        "upscale 128 x 128, x2": [*upscale, f"{photo}", f"{folder / 'out.png'}", "--scale=2"],
        "upscale 128 x 128, x2.7": [*upscale, f"{photo}", f"{folder / 'out.png'}", "--scale=2.7"],
        "info": [*HYPERFUNC, "info", f"{photo}"],
        "upscale 60 images of 20 sizes, x2": [
            *upscale,
            f"{photos}",
            f"{folder / 'out'}",
            "--scale=2",
        ],
    }
    times: dict[str, list[float]] = {"import jax": []}
    in_one_process: list[dict[str, float]] = []
    for _ in range(repeats):
        times["import jax"].append(run(JAX, folder / "cache")[0])
        for name, words in commands.items():
            shutil.rmtree(folder / "cache", ignore_errors=True)
            for turn in ("first", "second"):
                times.setdefault(f"{name}, {turn} run", []).append(run(words, folder / "cache")[0])
        in_one_process += measure_one_process(photo, folder / "cache")
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "cores": os.cpu_count(),
        "repeats": repeats,
        "seconds": {name: round(value, 3) for name, value in medians.items()},
        "ratios": {
            name: round(value / medians["import jax"], 2)
            for name, value in medians.items()
            if name != "import jax"
        },
        "seconds in one process with a warm cache": {
            name: round(statistics.median(values[name] for values in in_one_process), 3)
            for name in in_one_process[0]
        },
    }


def make_images(folder: Path) -> tuple[Path, Path]:
    """Cut a photograph of 128 x 128 pixels, and a folder of 60 in 20 sizes."""
    image = open_dataset("sample")[0]
    write_image(folder / "photo.png", image[:128, :128])
    photos = folder / "photos"
    photos.mkdir()
    for i, (height, width) in enumerate(SIZES * 3):
        write_image(photos / f"{i:02}.png", image[i : i + height, i : i + width])
    return folder / "photo.png", photos


def run(words: Sequence[str], cache: Path) -> tuple[float, str]:
    """Run a process; return its seconds and its output."""
    began = time.perf_counter()
    process = subprocess.run(
        words, env={**os.environ, SWITCH: str(cache)}, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - began, process.stdout


def measure_one_process(photo: Path, cache: Path) -> Iterator[dict[str, float]]:
    """Represent and render in one process, after another one that has filled the cache."""
    words = [sys.executable, "-c", IN_ONE_PROCESS, str(photo)]
    run(words, cache)
    yield json.loads(run(words, cache)[1])


if __name__ == "__main__":
    main()
