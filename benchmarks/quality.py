"""Regenerate docs/results: the tables of quality, from the checkpoint that comes with the package.

python benchmarks/quality.py --data_dir=../shared/data

Writes docs/results/quality.json (means) and docs/results/quality.md (the same as tables).
"""

import dataclasses
import json
from pathlib import Path

import tyro

from hyperfunc.baselines import bicubic
from hyperfunc.checkpoint import load_model
from hyperfunc.datasets import BENCHMARKS, open_dataset
from hyperfunc.errors import report_errors
from hyperfunc.evaluators import PROTOCOL, evaluate_super_resolution, parse_scale
from hyperfunc.sharding import use_cpu_cores
from hyperfunc.tiling import Upscaler

TITLES = {"set5": "Set5", "set14": "Set14", "b100": "B100", "urban100": "Urban100"}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure one checkpoint on the test sets, at integer scales and between and beyond them.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        workdir: a training run; the checkpoint that comes with the package if not given.
        datasets: the test sets.
        scales: all measured on every set.
        out: folder of the tables.
    """

    data_dir: Path | None = None
    workdir: Path | None = None
    datasets: tuple[str, ...] = BENCHMARKS
    scales: tuple[str, ...] = ("2", "3", "4", "1.5", "2.5", "3.7", "6", "8", "2.5x1")
    out: Path = Path("docs/results")


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        model = load_model(arguments.workdir or "sr")
        methods = {
            "bicubic": bicubic,
            "hyperfunc": Upscaler(model.experiment.model, model.variables),
        }
        cells = []
        for dataset in arguments.datasets:
            source = open_dataset(dataset, data_dir=arguments.data_dir)
            for scale in arguments.scales:
                table = evaluate_super_resolution(source, methods, parse_scale(scale))
                print(table, flush=True)
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
        result = {"protocol": PROTOCOL, "step": model.step, "cells": cells}
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "quality.json").write_text(json.dumps(result, indent=1) + "\n")
        (arguments.out / "quality.md").write_text(to_markdown(result))


def to_markdown(result: dict) -> str:
    """Format the means as one table: a row for each scale and method, PSNR-Y / SSIM-Y."""
    cells = {(cell["dataset"], cell["scale"]): cell for cell in result["cells"]}
    datasets = list(dict.fromkeys(dataset for dataset, _ in cells))
    scales = list(dict.fromkeys(scale for _, scale in cells))
    lines = [
        "# Quality of the bundled checkpoint",
        "",
        "    python benchmarks/quality.py --data_dir=../shared/data",
        "",
        f"One checkpoint for every scale (step {result['step']}). PSNR-Y in dB / SSIM-Y.",
        f"Protocol: {result['protocol']}.",
        "",
        "| scale | method | " + " | ".join(TITLES.get(name, name) for name in datasets) + " |",
        "|---|---|" + "---|" * len(datasets),
    ]
    for scale in scales:
        for method in ("bicubic", "hyperfunc"):
            values = [
                f"{cells[dataset, scale][method]['psnr_y']:.2f} / "
                f"{cells[dataset, scale][method]['ssim_y']:.4f}"
                for dataset in datasets
            ]
            lines.append(f"| x{scale} | {method} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
