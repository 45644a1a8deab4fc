"""The studio against UpscalerJS, in one browser on one machine: docs/results/browser.json.

python -m benchmarks.browser --data_dir=DATA --json=docs/results/browser.json

Both enlarge the same pictures in Chromium, in turns, with WebAssembly on the processor. npm
downloads UpscalerJS and its models as ``package-lock.json`` pins them. Times are medians of whole
ways, from a file to its pixels in JavaScript: of the first picture after the page was opened
without a cache, and of the next one. Ratios to the studio are medians of those within a turn. Files
come from a server on the same machine, so that their size costs no time.
"""

import base64
import dataclasses
import gzip
import io
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image

from benchmarks.browser.chromium import Browser, open_browser
from benchmarks.pages import replace_part
from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.experiment import load_model
from hyperfunc.export import export_studio
from hyperfunc.files import save_json
from hyperfunc.pixels import border_for, degrade, imresize, psnr_y

HERE = Path(__file__).parent

LIMIT = 600
"""Seconds, after which an enlargement has failed."""

TO_PNG = """.then((image) => {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return { ms: image.ms, png: canvas.toDataURL("image/png").split(",")[1] };
})"""

IN_STUDIO = """(async () => {
  const began = performance.now();
  const bytes = Uint8Array.from(atob(args[0]), (c) => c.charCodeAt(0));
  await hyperfunc.open(new Blob([bytes]), "photo.png");
  let image, row = 0;
  const makeWriter = (width, height) => {
    image = new ImageData(width, height);
    const write = async (rgb) => {
      for (let from = 0, to = 4 * row * width; from < rgb.length; from += 3, to += 4)
        image.data.set([rgb[from], rgb[from + 1], rgb[from + 2], 255], to);
      row += rgb.length / (3 * width);
    };
    return { write, finish: async () => image, abort: async () => {} };
  };
  await hyperfunc.save(args[1], makeWriter, () => {}, () => false);
  return Object.assign(image, { ms: performance.now() - began });
})()"""

IN_UPSCALER = """(async () => {
  const began = performance.now();
  const image = await enlarge(`data:image/png;base64,${args[0]}`);
  return Object.assign(image, { ms: performance.now() - began });
})()"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Compare the studio with UpscalerJS.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        dataset: of photographs.
        photograph: the name of the one that is reduced and enlarged again.
        repeats: turns.
        json: file to write.
        page: Markdown file whose table is replaced.
    """

    data_dir: Path | None = None
    dataset: str = "set14"
    photograph: str = "comic"
    repeats: int = 5
    json: Path | None = None
    page: Path | None = None


@dataclasses.dataclass(frozen=True)
class System:
    """What enlarges.

    Attributes:
        name: as the table has it.
        path: of its page.
        start: a promise in JavaScript, of being ready; args: the scale.
        enlarge: a promise of an ImageData with its time as `ms`; args: a PNG in Base64, the scale.
        scales: it can do any, or these.
    """

    name: str
    path: str
    start: str
    enlarge: str
    scales: str


STUDIO = System(
    "studio, `sr`", "studio/index.html", "hyperfunc.ready.then(() => 0)", IN_STUDIO, "any"
)
UPSCALER = System(
    "UpscalerJS, `esrgan-slim`", "upscaler.html", "start(args[0], 'wasm').then(() => 0)",
    IN_UPSCALER, "2, 3, 4, 8, a model each",
)  # fmt: skip


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors(), tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        result = measure(folder, arguments)
    if arguments.json is not None:
        save_json(arguments.json, result)
    if arguments.page is not None:
        write_table(arguments.page, result)


def prepare(folder: Path) -> None:
    """Put both into a folder: the studio, and UpscalerJS from npm."""
    export_studio([load_model("sr")], folder / "studio")
    for name in ("package.json", "package-lock.json", "upscaler.html"):
        shutil.copy(HERE / name, folder)
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(words, cwd=folder, check=True)


def measure(folder: Path, arguments: Arguments) -> dict[str, Any]:
    """Everything, as the JSON file has it."""
    source = open_dataset(arguments.dataset, data_dir=arguments.data_dir)
    index = [Path(name).stem for name in source.names].index(arguments.photograph)
    scales = {}
    for scale in (2, 4):
        small, original = degrade(source[index], (scale, scale))
        with open_browser(folder, LIMIT) as browser:
            systems = compare(browser, folder, (small, original), scale, arguments.repeats)
        interpolated = imresize(small, original.shape[:2])
        scales[f"x{scale}"] = {
            "photograph": list(small.shape[1::-1]),
            "bicubic": round(psnr_y(interpolated, original, border_for((scale, scale))), 2),
            "systems": systems,
        }
        print(f"x{scale}", json.dumps(systems, indent=1), flush=True)
    lock = json.loads((HERE / "package-lock.json").read_text("utf-8"))
    return {
        "photograph": arguments.photograph,
        "dataset": arguments.dataset,
        "cores": os.cpu_count(),
        "repeats": arguments.repeats,
        "versions": lock["packages"][""]["dependencies"],
        "scales": scales,
    }


def compare(
    browser: Browser, folder: Path, pair: tuple[np.ndarray, np.ndarray], scale: int, repeats: int
) -> dict[str, dict[str, Any]]:
    """Time both in turns, weigh what they load, and compare results with the original.

    Args:
        browser: on the folder.
        folder: of both.
        pair: the picture to enlarge, and its original.
        scale: the ratio of their sizes.
        repeats: turns.
    """
    small, original = pair
    times: dict[str, list[tuple[float, float]]] = {}
    loaded: dict[str, set[str]] = {}
    quality: dict[str, float] = {}
    for _ in range(repeats):
        for system in (STUDIO, UPSCALER):
            browser.requests.clear()
            began = time.perf_counter()
            open_system(browser, system, scale)
            enlarge(browser, system, small, scale)
            first = time.perf_counter() - began
            large, again = enlarge(browser, system, small, scale)
            quality[system.name] = psnr_y(large, original, border_for((scale, scale)))
            times.setdefault(system.name, []).append((first, again))
            paths = {path.partition("?")[0].lstrip("/") for path in browser.requests}
            loaded.setdefault(system.name, set()).update(paths)
            print(f"x{scale} {system.name}: {first:.1f} s, {again:.1f} s", flush=True)
    return {
        name: {
            "PSNR-Y": round(quality[name], 2),
            **summarize(pairs, times[STUDIO.name]),
            "megabytes": weigh(folder, loaded[name], len),
            "megabytes, gzipped": weigh(folder, loaded[name], lambda x: len(gzip.compress(x))),
        }
        for name, pairs in times.items()
    }


def summarize(
    times: list[tuple[float, float]], studio: list[tuple[float, float]]
) -> dict[str, dict[str, float]]:
    """Return medians of (first, next): seconds, and ratios to the studio in the same turn."""
    return {
        kind: {
            "seconds": round(statistics.median(turn[i] for turn in times), 1),
            "ratio": round(
                statistics.median(a[i] / b[i] for a, b in zip(times, studio, strict=True)), 2
            ),
        }
        for i, kind in enumerate(("first picture", "next picture"))
    }


def open_system(browser: Browser, system: System, scale: int) -> None:
    """Open a page, and wait until it is ready."""
    browser.open(system.path)
    browser.wait(system.start, scale)


def enlarge(
    browser: Browser, system: System, small: np.ndarray, scale: int
) -> tuple[np.ndarray, float]:
    """Return an enlarged picture, uint8, and the seconds it took."""
    file = io.BytesIO()
    Image.fromarray(small).save(file, "PNG")
    code = base64.b64encode(file.getvalue()).decode()
    result = browser.wait(system.enlarge + TO_PNG, code, scale)
    with Image.open(io.BytesIO(base64.b64decode(result["png"]))) as image:
        return np.asarray(image.convert("RGB")), result["ms"] / 1000


def weigh(folder: Path, names: set[str], size: Callable[[bytes], int]) -> float:
    """Return the megabytes of files."""
    files = (folder / (name + "index.html" if name.endswith("/") else name) for name in names)
    return round(sum(size(file.read_bytes()) for file in files if file.is_file()) / 1e6, 2)


def write_table(page: Path, result: dict[str, Any]) -> None:
    """Replace the table between the marks of a page."""
    lines = [
        "| | PSNR-Y | first picture | next picture | download, gzipped | scales |",
        "|---|---|---|---|---|---|",
    ]
    for scale, part in result["scales"].items():
        lines.append(f"| {scale}, bicubic interpolation | {part['bicubic']:.2f} dB | | | | any |")
        for system in (STUDIO, UPSCALER):
            row = part["systems"][system.name]
            first, again = (row[kind] for kind in ("first picture", "next picture"))
            lines.append(
                f"| {scale}, {system.name} | {row['PSNR-Y']:.2f} dB | "
                f"{first['seconds']:.1f} s ({first['ratio']:.2f}) | "
                f"{again['seconds']:.1f} s ({again['ratio']:.2f}) | "
                f"{row['megabytes, gzipped']:.1f} MB of {row['megabytes']:.1f} | {system.scales} |"
            )
    replace_part(page, "browser", "\n".join(lines))


if __name__ == "__main__":
    main()
