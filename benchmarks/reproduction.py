"""Regenerate the paper's Tables 1 and 2 with our own systems: docs/results/reproduction.{json,md}.

python benchmarks/reproduction.py --data_dir=DATA --runs=runs

Takes the checkpoints that docs/reproduction.md says how to make; a system without one is left out.
Cells that were measured before with the same checkpoint are kept, and those that
benchmarks/quality.py has measured with it are taken from docs/results/quality.json.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import tyro
from quality import TITLES

from hyperfunc.commands import report_errors
from hyperfunc.data import BENCHMARKS, open_dataset
from hyperfunc.devices import use_cpu_cores
from hyperfunc.errors import UserError
from hyperfunc.evaluation import (
    PROTOCOL,
    Method,
    bicubic,
    evaluate_super_resolution,
    make_method,
)
from hyperfunc.experiment import BUNDLED, load_model
from hyperfunc.files import save_json

SYSTEMS = {
    "SRCNN": "srcnn_x{scale}",
    "RDN, small": "rdn_small_x{scale}",
    "hypernetwork, RDN trunk": "sr_rdn",
    "hypernetwork, the paper's patches": "sr_paper",
    "hypernetwork, patches over bicubic": "sr_patches",
    "hypernetwork, pixels (ours)": "sr",
}
"""Workdirs below --runs, or names of checkpoints that come with the package."""

PAPER = {
    "set5": {"2": (36.09, 0.9505), "3": (32.85, 0.910), "4": (30.69, 0.869)},
    "set14": {"2": (32.30, 0.900), "3": (29.37, 0.816), "4": (27.61, 0.751)},
    "b100": {"2": (31.11, 0.879), "3": (28.31, 0.778), "4": (26.86, 0.706)},
    "urban100": {"2": (29.43, 0.891), "3": (26.26, 0.798), "4": (24.56, 0.723)},
}
"""The column "Hypernetwork" of Klocek et al. 2019, Tables 1 and 2: PSNR (dB), SSIM."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure every system of the paper's tables.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        runs: folder of the workdirs.
        datasets: the test sets.
        scales: integer scales.
        out: folder of the tables.
    """

    data_dir: Path | None = None
    runs: Path = Path("runs")
    datasets: tuple[str, ...] = BENCHMARKS
    scales: tuple[int, ...] = (2, 3, 4)
    out: Path = Path("docs/results")


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        path = arguments.out / "reproduction.json"
        known = json.loads(path.read_text())["cells"] if path.exists() else []
        cells = {(c["dataset"], c["scale"], c["system"]): c for c in known}
        measured = read_quality(arguments.out / "quality.json")
        for scale in arguments.scales:
            for system in ("bicubic", *SYSTEMS):
                found = find(system, scale, arguments.runs)
                if found is None:
                    continue
                method, about = found
                for dataset in arguments.datasets:
                    key = (dataset, str(scale), system)
                    if cells.get(key, {}).get("model") == about["model"]:
                        continue
                    scores = measured.get((dataset, str(scale), about["model"]))
                    if scores is None:
                        source = open_dataset(dataset, data_dir=arguments.data_dir)
                        table = evaluate_super_resolution(source, {system: method}, (scale, scale))
                        print(table, flush=True)
                        row = dataclasses.asdict(table.rows[0])
                        scores = {name: row[name] for name in ("images", "psnr_y", "ssim_y")}
                    cells[key] = {
                        "dataset": dataset,
                        "scale": str(scale),
                        "system": system,
                        **about,
                        **scores,
                    }
                    result = {"protocol": PROTOCOL, "cells": list(cells.values())}
                    save_json(path, result)
        (arguments.out / "reproduction.md").write_text(to_markdown(json.loads(path.read_text())))


def read_quality(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What benchmarks/quality.py has measured by the same protocol: by set, scale and model."""
    if not path.exists():
        return {}
    quality = json.loads(path.read_text())
    if quality["protocol"] != PROTOCOL:
        return {}
    names = {"bicubic": "bicubic", quality["model"]: "hyperfunc"}
    return {
        (cell["dataset"], cell["scale"], model): {"images": cell["images"], **cell[name]}
        for cell in quality["cells"]
        for model, name in names.items()
    }


def find(system: str, scale: int, runs: Path) -> tuple[Method, dict[str, Any]] | None:
    """Load a system for a scale, and say what it is; nothing if it was not trained."""
    if system == "bicubic":
        return bicubic, {"model": "bicubic", "parameters": 0, "step": 0}
    workdir = SYSTEMS[system].format(scale=scale)
    try:
        model = load_model(workdir if (BUNDLED / workdir).is_dir() else runs / workdir)
    except UserError as error:
        print(f"{system} x{scale}: left out ({error})")
        return None
    about = {
        "model": model.fingerprint,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.variables["params"])),
        "step": model.step,
    }
    return make_method(model), about


def to_markdown(result: dict[str, Any]) -> str:
    """Format one table: a row for each set and scale, a column for each system."""
    cells = {(c["dataset"], c["scale"], c["system"]): c for c in result["cells"]}
    systems = [s for s in ("bicubic", *SYSTEMS) if any(key[2] == s for key in cells)]
    lines = [
        "# The paper's tables with our own systems",
        "",
        "    python benchmarks/reproduction.py --data_dir=DATA --runs=runs",
        "",
        f"PSNR-Y in dB / SSIM-Y. Protocol: {result['protocol']}.",
        "How each system was trained: [reproduction](../reproduction.md).",
        "",
        "| | scale | the paper's hypernetwork | " + " | ".join(systems) + " |",
        "|---|---|---|" + "---|" * len(systems),
    ]
    for dataset, scales in PAPER.items():
        for scale, (psnr, ssim) in scales.items():
            values = [f"{psnr:.2f} / {ssim:.4f}"]
            for system in systems:
                cell = cells.get((dataset, scale, system))
                values.append(
                    f"{cell['psnr_y']:.2f} / {cell['ssim_y']:.4f}" if cell else "not measured"
                )
            lines.append(f"| {TITLES[dataset]} | x{scale} | " + " | ".join(values) + " |")
    counts = {}
    for cell in result["cells"]:
        counts.setdefault(cell["system"], {})[cell["scale"]] = (cell["parameters"], cell["step"])
    lines += ["", "| system | parameters | training steps |", "|---|---|---|"]
    for system in systems[1:]:
        values = sorted(set(counts[system].values()))
        lines.append(
            f"| {system} | {', '.join(f'{p:,}' for p, _ in values)} | "
            f"{', '.join(f'{s:,}' for s in sorted({s for _, s in values}))} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
