"""Whole processes that enlarge: ONNX Runtime in Python and in node, and `hyperfunc upscale`.

python -m benchmarks.onnx --json=docs/results/onnx.json --page=docs/export.md

Each enlarges the same pictures by two, in turns, from a file to a file. Times are medians: what
elapses, and what all processors together compute (user and system time of the process and of its
children). Ratios are medians of the ratios within a turn, so that what else a machine does matters
little. `hyperfunc upscale` has compiled its programs before; the graphs need no compilation.
"""

import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from PIL import Image

from benchmarks.pages import replace_part
from hyperfunc.cache import SWITCH
from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.experiment import load_model
from hyperfunc.export import export_onnx
from hyperfunc.files import save_json

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"

SCALE = 2

OURS = "`hyperfunc upscale`"


class Times(NamedTuple):
    """Of a process, in seconds."""

    elapsed: float
    processor: float
    """User and system time, with its children."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Time whole processes.

    Attributes:
        sizes: of the pictures, WIDTHxHEIGHT.
        repeats: of each process.
        json: file to write.
        page: Markdown file whose table is replaced.
    """

    sizes: tuple[str, ...] = ("128x128", "512x512", "960x540")
    repeats: int = 5
    json: Path | None = None
    page: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors(), tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        photograph = Image.fromarray(open_dataset("sample")[0])
        sizes = {}
        for size in arguments.sizes:
            width, height = map(int, size.split("x"))
            photograph.resize((width, height)).save(folder / f"{size}.png")
            sizes[f"{width} x {height}"] = measure(folder, f"{size}.png", arguments.repeats)
            print(size, sizes, flush=True)
    result = {"cores": os.cpu_count(), "repeats": arguments.repeats, "scale": SCALE, "sizes": sizes}
    if arguments.json is not None:
        save_json(arguments.json, result)
    if arguments.page is not None:
        replace_part(arguments.page, "onnx", format_table(sizes))


def prepare(folder: Path) -> None:
    """Put graphs, examples and packages from npm into a folder."""
    export_onnx(load_model("sr"), folder / "graphs", scales=[SCALE])
    for path in (EXAMPLES / "onnx_tiles.py", EXAMPLES / "onnx_tiles.mjs", *HERE.glob("*.json")):
        shutil.copy(path, folder)
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(words, cwd=folder, check=True)


def measure(folder: Path, photo: str, repeats: int) -> dict[str, dict[str, float]]:
    """Time all in turns for a picture in the folder, and compare what they wrote."""
    upscale = ["-m", "hyperfunc", "upscale", "--overwrite", "--quiet", f"--scale={SCALE}"]
    commands = {
        OURS: [sys.executable, *upscale, photo, "ours.png"],
        "ONNX Runtime, Python": [
            *(sys.executable, "onnx_tiles.py", "graphs", photo, "python.png", str(SCALE))
        ],
        "ONNX Runtime, node": ["node", "onnx_tiles.mjs", "graphs", photo, "node.png", str(SCALE)],
    }
    run(folder, commands[OURS])  # Compiles.
    turns = [{name: run(folder, words) for name, words in commands.items()} for _ in range(repeats)]
    images = {
        name: np.asarray(Image.open(folder / words[-1 if name == OURS else -2]).convert("RGB"))
        for name, words in commands.items()
    }
    return {
        name: {
            **{kind: round(value, 2) for kind, value in summarize(turns, name).items()},
            "largest difference in levels": int(
                np.abs(image.astype(int) - images[OURS].astype(int)).max()
            ),
        }
        for name, image in images.items()
    }


def summarize(turns: Sequence[dict[str, Times]], name: str) -> dict[str, float]:
    """Return medians of what a program took, and of its ratios to `hyperfunc upscale`."""
    result = {}
    for i, kind in enumerate(Times._fields):
        result[f"{kind} seconds"] = statistics.median(turn[name][i] for turn in turns)
        ratios = [turn[name][i] / turn[OURS][i] for turn in turns]
        result[f"{kind} ratio"] = statistics.median(ratios)
    return result


def run(folder: Path, words: Sequence[str]) -> Times:
    """Run a process.

    Raises:
        CalledProcessError: it failed; what it wrote is in the file "log" of the folder.
    """
    environment = {**os.environ, SWITCH: str(folder / "cache")}
    began = time.perf_counter()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Times(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)


def format_table(sizes: dict[str, dict[str, Any]]) -> str:
    """Write a row for each program, and a column for each size."""
    lines = [f"| x{SCALE} | {' | '.join(sizes)} |", "|---" * (len(sizes) + 1) + "|"]
    for name in next(iter(sizes.values())):
        unit, digits = ("seconds", 1) if name == OURS else ("ratio", 2)
        cells = [
            " · ".join(
                f"{size[name][f'{kind} {unit}']:.{digits}f}{' s' * (name == OURS)}"
                for kind in ("processor", "elapsed")
            )
            for size in sizes.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
