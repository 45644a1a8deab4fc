r"""What a model restores, against published numbers and the classical methods of scikit-image.

    python benchmarks/restoration.py --checkpoint=runs/restore --data_dir=DATA \
        --json=docs/results/restoration.json

PSNR (dB) by the protocols of `hyperfunc.evaluation.restoration`. Classical methods are slow: they
are measured, with the model beside them, on the first images of each set only.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

import tyro

from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.devices import use_cpu_cores
from hyperfunc.evaluation import RestorationTask, evaluate_restoration, load_restorers
from hyperfunc.experiment import Model, load_model
from hyperfunc.files import save_json


@dataclasses.dataclass(frozen=True)
class Row:
    """What is measured, and what is asked for.

    Attributes:
        levels: of the damage.
        required: for each level, in dB.
        target: for each level, in dB.
        scale: of the enlargement.
        rivals: of which methods the best is subtracted, if not nothing is: "classical" ones, or
            those in "two steps".
    """

    task: RestorationTask
    dataset: str
    levels: tuple[float, ...]
    required: tuple[float, ...]
    target: tuple[float, ...]
    scale: float = 1.0
    rivals: Literal["", "classical", "two steps"] = ""


ROWS = (
    Row("denoise", "cbsd68", (15, 25, 50), (33.52, 30.71, 27.38), (33.87, 31.21, 27.96)),
    Row("denoise", "urban100", (15, 25, 50), (33.0, 30.4, 27.0), (32.98, 30.81, 27.59)),
    Row(
        "deblock",
        "classic5",
        (10, 20, 30, 40),
        (29.03, 31.15, 32.51, 33.32),
        (29.40, 31.63, 32.91, 33.77),
    ),
    Row(
        "deblock",
        "live1",
        (10, 20, 30, 40),
        (28.96, 31.29, 32.67, 33.63),
        (29.19, 31.59, 32.98, 33.96),
    ),
    Row("deblur", "b100", (1.6,), (1.5,), (2.5,), rivals="classical"),
    Row("denoise", "b100", (15,), (0.0,), (0.3,), scale=2.0, rivals="two steps"),
    Row("deblock", "b100", (40,), (0.0,), (0.3,), scale=2.0, rivals="two steps"),
    Row("denoise", "b100", (0,), (40.0,), (45.0,)),
    Row("inpaint", "set14", (50, 80), (1.0, 1.0), (3.0, 3.0), rivals="classical"),
)
"""Required are CBM3D and ARCNN, targets FFDNet and DnCNN, where these have published a number. A
level of 0 leaves a clean image as it is."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print a table, and write it as JSON.

    Attributes:
        checkpoint: a workdir, one of its checkpoints (RUN/checkpoints/STEP), or a bundled name.
        inpaint: the same for missing pixels.
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        images: at most so many images of each set, the first ones; all if not given.
        classical: the same for classical methods; 0 leaves them out.
        json: file to write.
    """

    checkpoint: str = "restore"
    inpaint: str = "inpaint"
    data_dir: Path | None = None
    images: int | None = None
    classical: int = 5
    json: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        model, filling = load_model(arguments.checkpoint), load_model(arguments.inpaint)
        rows, tables = [], []
        print("| task | images | level | measured | required | target | |\n|" + "---|" * 7)
        for row in ROWS:
            measured, more = measure(row, filling if row.task == "inpaint" else model, arguments)
            tables += more
            columns = zip(row.levels, measured, row.required, row.target, strict=True)
            for level, value, required, target in columns:
                rows.append(
                    {
                        "task": row.task,
                        "dataset": row.dataset,
                        "scale": row.scale,
                        "level": level,
                        "gain_over": row.rivals,
                        "measured": value,
                        "required": required,
                        "target": target,
                    }
                )
                print_row(rows[-1])
        if arguments.json is not None:
            about = {"step": model.step, "model": model.fingerprint}
            about["inpaint"] = {"step": filling.step, "model": filling.fingerprint}
            save_json(arguments.json, {**about, "rows": rows, "tables": tables})


def measure(
    row: Row, model: Model, arguments: Arguments
) -> tuple[list[float], list[dict[str, Any]]]:
    """Measure the numbers of a row, one for each level, and return the tables, too."""
    source = open_dataset(row.dataset, data_dir=arguments.data_dir)
    restorers, _ = load_restorers(None, row.task, row.scale, checkpoint=model)
    ours = [name for name in restorers if name.startswith("hyperfunc")]
    tables = []

    def run(names: list[str], count: int | None) -> dict[tuple[str, float], float]:
        part = source.select(range(min(count or len(source), len(source))))
        methods = {name: restorers[name] for name in names}
        table = evaluate_restoration(part, methods, row.task, row.levels, scale=row.scale)
        tables.append(dataclasses.asdict(table))
        return {(line.method, line.level): line.psnr for line in table.rows}

    psnr = run(["observed", *ours], arguments.images)
    has_classical = arguments.classical and row.scale == 1 and row.levels != (0,)
    few = run(list(restorers), arguments.classical) if has_classical else {}
    if row.rivals == "classical":
        psnr = few
    measured = []
    for level in row.levels:
        value = psnr.get(("hyperfunc", level), math.nan)
        if row.rivals:
            others = [x for x in psnr if x[1] == level and x[0] not in ("observed", "hyperfunc")]
            value -= max((psnr[x] for x in others), default=math.nan)
        measured.append(value)
    return measured, tables


def print_row(row: dict[str, Any]) -> None:
    """Print one line of the table."""
    verdict = "missed"
    if row["measured"] >= row["required"]:
        verdict = "target" if row["measured"] >= row["target"] else "required"
    scale = f" x{row['scale']:g}" if row["scale"] > 1 else ""
    quantity = f" (gain over {row['gain_over']})" if row["gain_over"] else ""
    print(
        f"| {row['task']}{scale}{quantity} | {row['dataset']} | {row['level']:g} "
        f"| {row['measured']:.2f} | {row['required']:.2f} | {row['target']:.2f} | {verdict} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
