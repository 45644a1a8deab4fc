"""Whole processes that enlarge: ONNX Runtime in Python and in node, and `hyperfunc upscale`.

python -m benchmarks.onnx --json=docs/results/onnx.json --page=docs/export.md

Each enlarges the same pictures by two, in turns, from a file to a file. Times are medians. Ratios
are medians of the ratios within a turn, so that what else a machine does matters little.
`hyperfunc upscale` has compiled its programs before; the graphs need no compilation.
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
from typing import Any

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
            "seconds": round(statistics.median(turn[name] for turn in turns), 2),
            "ratio": round(statistics.median(turn[name] / turn[OURS] for turn in turns), 2),
            "largest difference in levels": int(
                np.abs(image.astype(int) - images[OURS].astype(int)).max()
            ),
        }
        for name, image in images.items()
    }


def run(folder: Path, words: Sequence[str]) -> float:
    """Run a process; return its seconds."""
    environment = {**os.environ, SWITCH: str(folder / "cache")}
    began = time.perf_counter()
    subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=True)
    return time.perf_counter() - began


def format_table(sizes: dict[str, dict[str, Any]]) -> str:
    """Write a row for each program, and a column for each size."""
    lines = [f"| x{SCALE} | {' | '.join(sizes)} |", "|---" * (len(sizes) + 1) + "|"]
    for name in next(iter(sizes.values())):
        cells = [
            f"{size[name]['seconds']:.1f} s" + (f" ({size[name]['ratio']:.2f})" * (name != OURS))
            for size in sizes.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
