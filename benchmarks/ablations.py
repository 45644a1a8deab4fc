"""Regenerate docs/results/ablations.{json,md}: what windows, overlap and alpha do (paper, 4.2).

python -m benchmarks.ablations --data_dir=DATA --runs=runs

Takes the checkpoints that docs/reproduction.md says how to make; a variant without one is left out.
Everything is measured on the validation split of the training data, never on the test sets.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import tyro

from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.devices import make_mesh, replicated, use_cpu_cores
from hyperfunc.errors import UserError
from hyperfunc.experiment import load_model
from hyperfunc.files import save_json
from hyperfunc.networks import Hypernetwork, PatchHypernetwork
from hyperfunc.pixels import WindowLayout
from hyperfunc.training import Validator, split_validation

SCALES = ("2", "3", "4", "1.5", "2.5", "3.7")
"""Those of the table; x6 and x8 are beyond what these small models are for."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row: a checkpoint, possibly with its windows laid otherwise."""

    group: str
    name: str
    workdir: str
    layout: WindowLayout | None = None


VARIANTS = (
    Variant("alpha", "with", "sr_patches_w8"),
    Variant("alpha", "without", "sr_patches_no_alpha"),
    Variant("window", "32", "sr_patches_w32"),
    Variant("window", "16", "sr_patches_w16"),
    Variant("window", "8", "sr_patches_w8"),
    Variant("window", "4", "sr_patches_w4"),
    Variant("window", "1 pixel, trunk over the image", "sr_patches_pixel"),
    Variant("overlap", "none", "sr_patches", WindowLayout(8, 8, 0.0, "box")),
    Variant("overlap", "1/4, tent", "sr_patches", WindowLayout(8, 6, 0.0)),
    Variant("overlap", "1/2, plain average", "sr_patches", WindowLayout(8, 4, 0.0, "box")),
    Variant("overlap", "1/2, tent", "sr_patches"),
    Variant("overlap", "3/4, tent", "sr_patches", WindowLayout(8, 2, 0.0)),
)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure the variants of the paper's super-resolution.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        runs: folder of the workdirs.
        out: folder of the tables.
        figure: the picture of quality against the size of windows.
    """

    data_dir: Path | None = None
    runs: Path = Path("runs")
    out: Path = Path("docs/results")
    figure: Path = Path("docs/images/window_sizes.png")


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        path = arguments.out / "ablations.json"
        known = json.loads(path.read_text())["rows"] if path.exists() else []
        rows = {(row["group"], row["variant"]): row for row in known}
        for variant in VARIANTS:
            row = measure(variant, arguments, rows.get((variant.group, variant.name)))
            if row is None:
                continue
            rows[variant.group, variant.name] = row
            print(row, flush=True)
            save_json(path, {"rows": list(rows.values())})
        (arguments.out / "ablations.md").write_text(to_markdown(list(rows.values())))
        draw([row for row in rows.values() if row["group"] == "window"], arguments.figure)


def measure(
    variant: Variant, arguments: Arguments, known: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Score a variant; nothing if it was not trained, ``known`` if that is of the same model."""
    try:
        model = load_model(arguments.runs / variant.workdir)
    except UserError as error:
        print(f"{variant.group} {variant.name}: left out ({error})")
        return None
    if known is not None and known["model"] == model.fingerprint:
        return known
    experiment = model.experiment
    row = {
        "group": variant.group,
        "variant": variant.name,
        "model": model.fingerprint,
        "step": model.step,
        "parameters": sum(np.size(leaf) for leaf in jax.tree.leaves(model.variables["params"])),
    }
    if variant.layout is None:  # Training has measured it.
        lines = (arguments.runs / variant.workdir / "metrics.jsonl").read_text().splitlines()
        scores = [line for line in map(json.loads, lines) if "validation/psnr" in line][-1]
        if scores["step"] != model.step:
            raise UserError(f"{variant.workdir}: step {model.step} was not validated")
        return row | {"psnr_y": {scale: scores[f"validation/psnr_x{scale}"] for scale in SCALES}}
    _, held_out = split_validation(
        open_dataset(
            experiment.data.dataset, data_dir=arguments.data_dir, split="train", strict=False
        ),
        experiment.data.validation,
    )
    network, mesh = lay(model.hypernetwork, variant.layout), make_mesh()
    variables = jax.device_put(model.variables, replicated(mesh))
    scores, _ = Validator(network, experiment.task, held_out, mesh)(variables)
    return row | {"psnr_y": {scale: scores[f"validation/psnr_x{scale}"] for scale in SCALES}}


def lay(network: Hypernetwork, layout: WindowLayout) -> PatchHypernetwork:
    """Give a hypernetwork other windows; it was trained on single ones and cannot tell."""
    if not isinstance(network, PatchHypernetwork):
        raise UserError(f"{type(network).__name__} has no windows to lay otherwise")
    return dataclasses.replace(network, layout=layout)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot quality against the size of windows, for each trained scale."""
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    names = [row["variant"].split()[0] for row in rows]
    for scale in ("2", "3", "4"):
        values = [row["psnr_y"][scale] for row in rows]
        axes.plot(range(len(rows)), values, marker="o", label=f"x{scale}")
    axes.set_xticks(range(len(rows)), [f"{name} px" for name in names])
    axes.set_xlabel("side of a window; the last reads a trunk over the image")
    axes.set_ylabel("validation PSNR-Y (dB)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Format one table for each group."""
    lines = [
        "# Windows, overlap and alpha",
        "",
        "    python -m benchmarks.ablations --data_dir=DATA --runs=runs",
        "",
        "PSNR-Y (dB) on the validation split of the training images. How each variant was trained:",
        "[reproduction](../reproduction.md).",
    ]
    for group in dict.fromkeys(row["group"] for row in rows):
        lines += ["", f"| {group} | parameters | steps | x" + " | x".join(SCALES) + " |"]
        lines += ["|---|" + "---|" * (len(SCALES) + 2)]
        for row in (row for row in rows if row["group"] == group):
            values = " | ".join(f"{row['psnr_y'][scale]:.2f}" for scale in SCALES)
            lines.append(
                f"| {row['variant']} | {row['parameters']:,} | {row['step']:,} | {values} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
