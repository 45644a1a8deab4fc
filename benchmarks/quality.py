"""Regenerate docs/results: the tables of quality, from the checkpoint that comes with the package.

python -m benchmarks.quality --data_dir=DATA --readme=README.md

Writes docs/results/quality.json (means), docs/results/quality.md (as a table), and the short
table of README.md. Cells that were measured before with the same checkpoint are kept, so that the
table can be made in parts (--datasets, --scales).
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tyro

from benchmarks.pages import replace_part
from hyperfunc.commands import report_errors
from hyperfunc.data import BENCHMARKS, ImageSource, open_dataset
from hyperfunc.devices import use_cpu_cores
from hyperfunc.evaluation import PROTOCOL, TITLES, Method, bicubic, evaluate_super_resolution
from hyperfunc.experiment import load_model
from hyperfunc.files import replacing, save_json
from hyperfunc.pixels import border_for, degrade, parse_scale, psnr_y
from hyperfunc.upscaling import Upscaler


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure one checkpoint on the test sets, at integer scales and between and beyond them.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        workdir: a training run, or the name of a bundled checkpoint.
        datasets: the test sets.
        scales: all measured on every set.
        continuity: the test sets on which an enlargement by 4, averaged to half its size, is
            compared with an enlargement by 2.
        out: folder of the tables.
        readme: a file whose table between the markers is replaced.
    """

    data_dir: Path | None = None
    workdir: str = "sr"
    datasets: tuple[str, ...] = BENCHMARKS
    scales: tuple[str, ...] = ("2", "3", "4", "1.3", "1.5", "2.5", "3.7", "6", "8", "2.5x1")
    continuity: tuple[str, ...] = ("set5", "set14")
    out: Path = Path("docs/results")
    readme: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        model = load_model(arguments.workdir)
        methods = {
            "bicubic": bicubic,
            "hyperfunc": Upscaler(model.hypernetwork, model.variables),
        }
        path = arguments.out / "quality.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        is_same = known.get("model") == (identity := model.fingerprint)
        cells = known["cells"] if is_same else []
        continuity = known.get("continuity", {}) if is_same else {}
        about = {"protocol": PROTOCOL, "model": identity, "step": model.step}
        for dataset in arguments.datasets:
            source = open_dataset(dataset, data_dir=arguments.data_dir)
            for scale in arguments.scales:
                table = evaluate_super_resolution(source, methods, parse_scale(scale))
                print(table, flush=True)
                cells = [
                    cell for cell in cells if (cell["dataset"], cell["scale"]) != (dataset, scale)
                ]
                cells.append(
                    {
                        "dataset": dataset,
                        "scale": scale,
                        "images": table.rows[0].images,
                        **{
                            row.method: {"psnr_y": row.psnr_y, "ssim_y": row.ssim_y}
                            for row in table.rows
                        },
                    }
                )
                save(arguments.out, {**about, "cells": cells, "continuity": continuity})
        for dataset in arguments.continuity:
            source = open_dataset(dataset, data_dir=arguments.data_dir)
            continuity[dataset] = measure_continuity(source, methods)
            print(dataset, continuity[dataset], flush=True)
            save(arguments.out, {**about, "cells": cells, "continuity": continuity})
        if arguments.readme is not None:
            replace_part(arguments.readme, "results", to_summary(cells))


def save(folder: Path, result: dict) -> None:
    """Write what has been measured so far."""
    folder.mkdir(parents=True, exist_ok=True)
    save_json(folder / "quality.json", result)
    with replacing(folder / "quality.md") as beside:
        beside.write_text(to_markdown(result))


def measure_continuity(source: ImageSource, methods: Mapping[str, Method]) -> dict[str, float]:
    """Mean PSNR-Y (dB) between x4, averaged over 2 x 2 pixels, and x2 of images reduced by 4.

    A function sampled with larger pixels is its average over them, so they should agree.
    """
    values = {method: [] for method in methods}
    for hr in source:
        lr, _ = degrade(hr, (4, 4))
        (height, width), border = lr.shape[:2], border_for((2, 2))
        for method, enlarge in methods.items():
            fine = enlarge(lr, (4 * height, 4 * width)).astype(np.float64)
            mean = fine.reshape(2 * height, 2, 2 * width, 2, 3).mean(axis=(1, 3))
            coarse = enlarge(lr, (2 * height, 2 * width))
            rounded = np.floor(mean + 0.5).astype(np.uint8)
            values[method].append(psnr_y(rounded, coarse, border))
    return {method: float(np.mean(scores)) for method, scores in values.items()}


def title(dataset: str) -> str:
    """The literature's name of a set; other folders go by their own."""
    return TITLES.get(dataset, dataset)


def to_markdown(result: dict) -> str:
    """Format the means as one table: a row for each scale and method, PSNR-Y / SSIM-Y."""
    cells = {(cell["dataset"], cell["scale"]): cell for cell in result["cells"]}
    datasets = list(dict.fromkeys(dataset for dataset, _ in cells))
    scales = sorted({scale for _, scale in cells}, key=parse_scale)
    lines = [
        "# Quality of the bundled checkpoint",
        "",
        "    python -m benchmarks.quality --data_dir=DATA",
        "",
        f"One checkpoint for every scale (step {result['step']}). PSNR-Y in dB / SSIM-Y.",
        f"Protocol: {result['protocol']}.",
        "",
        "| scale | method | " + " | ".join(map(title, datasets)) + " |",
        "|---|---|" + "---|" * len(datasets),
    ]
    for scale in scales:
        for method in ("bicubic", "hyperfunc"):
            values = [
                f"{cells[dataset, scale][method]['psnr_y']:.2f} / "
                f"{cells[dataset, scale][method]['ssim_y']:.4f}"
                if (dataset, scale) in cells
                else "not measured"
                for dataset in datasets
            ]
            lines.append(f"| x{scale} | {method} | " + " | ".join(values) + " |")
    if result["continuity"]:
        lines += [
            "",
            "Is it one function? Images reduced by 4 are enlarged by 4, averaged over 2 x 2,",
            "and compared with the same enlarged by 2 (PSNR-Y in dB: the more, the better).",
            "",
            "| | bicubic | hyperfunc |",
            "|---|---|---|",
        ]
        for dataset, row in result["continuity"].items():
            lines.append(f"| {title(dataset)} | {row['bicubic']:.2f} | {row['hyperfunc']:.2f} |")
    return "\n".join(lines) + "\n"


def to_summary(cells: list[dict], scales: tuple[str, ...] = ("2", "3", "4")) -> str:
    """Format the integer scales as one table: a row for each set, bicubic in brackets."""
    lines = ["| | " + " | ".join(f"x{scale}" for scale in scales) + " |", "|---|" + "---|" * 3]
    for dataset in dict.fromkeys(cell["dataset"] for cell in cells):
        of_scale = {c["scale"]: c for c in cells if c["dataset"] == dataset}
        values = [
            f"**{of_scale[scale]['hyperfunc']['psnr_y']:.2f}** "
            f"({of_scale[scale]['bicubic']['psnr_y']:.2f})"
            if scale in of_scale
            else "not measured"
            for scale in scales
        ]
        lines.append(f"| {title(dataset)} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
