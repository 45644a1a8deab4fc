r"""What `restore` and `inpaint` restore, against published numbers and other methods.

    python -m benchmarks.restoration --data_dir=DATA

PSNR (dB) by the protocols of `hyperfunc.evaluation`. Each level that has been measured is written
at once, and a level that is there is not measured again: a run that was stopped goes on.

    python -m benchmarks.restoration --data_dir=DATA --dncnn=runs/dncnn

measures a run of `--preset=dncnn`, too, at scale 1. Its numbers stay where it is not given.
"""

import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tyro

from benchmarks.pages import replace_part
from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.devices import use_cpu_cores
from hyperfunc.evaluation import (
    TITLES,
    RestorationTable,
    RestorationTask,
    evaluate_restoration,
    load_baseline,
    load_restorers,
)
from hyperfunc.experiment import Model, load_model
from hyperfunc.files import save_json

Part = tuple[int, int | None]
"""One image of so many is measured, and at most so many; all if None."""

NAMES = {**TITLES, "cbsd68": "CBSD68", "classic5": "Classic5", "live1": "LIVE1"}


@dataclasses.dataclass(frozen=True)
class Row:
    """What is measured, and what is asked for.

    Attributes:
        damage: its name in the table.
        levels: of the damage.
        required: for each level, in dB.
        target: for each level, in dB.
        scale: of the enlargement.
        rivals: methods; what is asked for is how much better than the best of them the model is,
            if there are any.
        every: one image of so many is measured, because all take hours.
        first: so many images are measured, the first ones; all if not given.
    """

    damage: str
    task: RestorationTask
    dataset: str
    levels: tuple[float | str, ...]
    required: tuple[float, ...]
    target: tuple[float, ...]
    scale: float = 1.0
    rivals: tuple[str, ...] = ()
    every: int = 1
    first: int | None = None


CLASSICAL = ("wiener", "richardson-lucy")
TWO_STEPS = ("hyperfunc-sr", "sr-hyperfunc")
QUALITIES = (10, 30, 50, 70, 90)

ROWS = (
    Row("noise", "denoise", "cbsd68", (15, 25, 50), (33.52, 30.71, 27.38), (33.87, 31.21, 27.96)),
    Row(
        "noise",
        "denoise",
        "urban100",
        (15, 25, 50),
        (33.0, 30.4, 27.0),
        (32.98, 30.81, 27.59),
        first=10,
    ),
    Row(
        "JPEG, grey",
        "deblock",
        "classic5",
        (10, 20, 30, 40),
        (29.03, 31.15, 32.51, 33.32),
        (29.40, 31.63, 32.91, 33.77),
    ),
    Row(
        "JPEG, luma",
        "deblock",
        "live1",
        (10, 20, 30, 40),
        (28.96, 31.29, 32.67, 33.63),
        (29.19, 31.59, 32.98, 33.96),
    ),
    Row("blur", "deblur", "b100", ("gaussian:1.6",), (1.5,), (2.5,), 1.0, CLASSICAL, 5),
    Row(
        "blur",
        "deblur",
        "b100",
        ("motion:9:30", "motion:15:120"),
        (0.0, 0.0),
        (0.0, 0.0),
        rivals=CLASSICAL,
        every=5,
    ),
    Row("missing %", "inpaint", "set14", (50, 80), (1.0, 1.0), (3.0, 3.0), rivals=("biharmonic",)),
    Row("noise", "denoise", "b100", (15,), (0.0,), (0.3,), 2.0, TWO_STEPS, 10),
    Row("JPEG", "deblock", "b100", (40,), (0.0,), (0.3,), 2.0, TWO_STEPS, 10),
    Row("JPEG", "deblock", "live1", QUALITIES, (0.0,) * 5, (0.0,) * 5, 2.0, ("sr_jpeg",), 3),
    Row("JPEG", "deblock", "classic5", QUALITIES, (0.0,) * 5, (0.0,) * 5, 2.0, ("sr_jpeg",)),
    Row("", "denoise", "b100", (0,), (40.0,), (45.0,), every=5),
)
"""Required are CBM3D and ARCNN, targets FFDNet and DnCNN, where these have published a number. A
level of 0 leaves a clean image as it is."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print a table, write it as JSON, and put it into a page.

    Attributes:
        checkpoint: a workdir, one of its checkpoints (RUN/checkpoints/STEP), or a bundled name.
        inpaint: the same for missing pixels.
        dncnn: a training run of DnCNN.
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        datasets: measure these only; all if not given.
        whole: measure all images of each set.
        json: file to go on from and to write.
        page: file whose table is replaced.
    """

    checkpoint: str = "restore"
    inpaint: str = "inpaint"
    dncnn: Path | None = None
    data_dir: Path | None = None
    datasets: tuple[str, ...] = ()
    whole: bool = False
    json: Path = Path("docs/results/restoration.json")
    page: Path = Path("docs/model-card.md")


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        models = {False: load_model(arguments.checkpoint), True: load_model(arguments.inpaint)}
        dncnn = None if arguments.dncnn is None else load_baseline("dncnn", arguments.dncnn)
        known = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
        for row in ROWS:
            if arguments.datasets and row.dataset not in arguments.datasets:
                continue
            model = models[row.task == "inpaint"]
            part = (1, None) if arguments.whole else (row.every, row.first)
            for level in row.levels:
                old = find(known, row, level)
                result = renew(old, row, level, model, dncnn, part, arguments.data_dir)
                if result != old:
                    known = [other for other in known if other is not old] + [result]
                    print(result["psnr"], result.get("dncnn", ""), flush=True)
                    save_json(arguments.json, known)
        table = to_table(known)
        print(table)
        replace_part(arguments.page, "restoration", table)


def find(
    results: Iterable[dict[str, Any]], row: Row, level: float | str, **more: Any
) -> dict[str, Any] | None:
    """Find what was measured of a row at a level."""
    wanted = {"task": row.task, "dataset": row.dataset, "scale": row.scale, "level": level, **more}
    return next((x for x in results if all(x[key] == y for key, y in wanted.items())), None)


def renew(
    old: dict[str, Any] | None,
    row: Row,
    level: float | str,
    model: Model,
    dncnn: Model | None,
    part: Part,
    data_dir: Path | None,
) -> dict[str, Any]:
    """Measure of a row at one level what has not been measured, on these images or of a model.

    Where no DnCNN is given, what was measured of one stays.
    """
    result = old if old and old["part"] == list(part) else {}
    if result.get("model") != model.fingerprint:
        result = result | measure(row, level, model, part, data_dir)
    is_for_dncnn = row.scale == 1 and row.task != "inpaint"
    if dncnn and is_for_dncnn and result.get("dncnn", {}).get("model") != dncnn.fingerprint:
        table = evaluate(row, level, ["dncnn"], part, data_dir, checkpoint="", dncnn=dncnn)
        psnr = table.rows[0].psnr
        result = result | {"dncnn": {"model": dncnn.fingerprint, "step": dncnn.step, "psnr": psnr}}
    return result


def evaluate(
    row: Row,
    level: float | str,
    names: list[str],
    part: Part,
    data_dir: Path | None,
    **models: Any,
) -> RestorationTable:
    """Evaluate methods on one image of so many, and at most so many."""
    source = open_dataset(row.dataset, data_dir=data_dir)
    every, first = part
    source = source.select(range(0, len(source), every)[:first])
    restorers, _ = load_restorers(names, row.task, row.scale, **models)
    return evaluate_restoration(source, restorers, row.task, [level], scale=row.scale)


def measure(
    row: Row, level: float | str, model: Model, part: Part, data_dir: Path | None
) -> dict[str, Any]:
    """Measure a row at one level."""
    names = ["observed", *row.rivals, "hyperfunc"]
    table = evaluate(row, level, names, part, data_dir, checkpoint=model)
    return {
        "task": row.task,
        "dataset": row.dataset,
        "scale": row.scale,
        "level": level,
        "model": model.fingerprint,
        "step": model.step,
        "images": table.rows[0].images,
        "part": list(part),
        "protocol": table.protocol,
        "psnr": {line.method: line.psnr for line in table.rows},
        "seconds": {line.method: round(line.seconds, 1) for line in table.rows},
        "per_image": {
            line["image"]: {name: round(line[name], 3) for name in names}
            for line in table.per_image
        },
    }


def to_table(results: list[dict[str, Any]]) -> str:
    """Format a line for each row, its levels beside each other."""
    steps = sorted({result["dncnn"]["step"] for result in results if "dncnn" in result})
    heads = ["images and damage", "damaged", "best other method"]
    heads += [f"DnCNN ({' / '.join(f'{step:,}' for step in steps)} steps)"] * bool(steps)
    heads += ["ours", "required", "target", "reached"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in ROWS:
        found = [find(results, row, level) for level in row.levels]
        measured = [result for result in found if result is not None]
        if not measured:
            continue
        every, first = measured[0]["part"]
        count = f"the first {first}" if first else f"{measured[0]['images']}"
        count += f", one of {every}" if every > 1 else ""
        levels = " / ".join(f"{result['level']}" for result in measured)
        what = f"{row.damage} {levels}" if row.damage else "as they are"
        enlarged = f", enlarged x{row.scale:g}" if row.scale > 1 else ""
        asked = [
            (required, target)
            for result, required, target in zip(found, row.required, row.target, strict=True)
            if result is not None
        ]
        others = [best_rival(row, result["psnr"]) for result in measured]
        sign = "+" if row.rivals else ""
        cells = [
            f"{NAMES[row.dataset]} ({count}), {what}{enlarged}",
            join(result["psnr"]["observed"] for result in measured),
            " / ".join(f"{name} {psnr:.2f}" for name, psnr in others if name),
            *[join(result["dncnn"]["psnr"] for result in measured if "dncnn" in result)]
            * bool(steps),
            join(result["psnr"]["hyperfunc"] for result in measured),
            join((required for required, _ in asked), sign),
            join((target for _, target in asked), sign),
            " / ".join(
                judge(result["psnr"]["hyperfunc"] - psnr, *wanted)
                for result, (_, psnr), wanted in zip(measured, others, asked, strict=True)
            ),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def best_rival(row: Row, psnr: dict[str, float]) -> tuple[str, float]:
    """Return the best of the methods that the model is compared with; ("", 0) if there is none."""
    return max(((name, psnr[name]) for name in row.rivals), key=lambda x: x[1], default=("", 0.0))


def judge(value: float, required: float, target: float) -> str:
    """Say which aim a value reaches."""
    return "target" if value >= target else "required" if value >= required else "no"


def join(values: Iterable[float | None], sign: str = "") -> str:
    """Write values beside each other; infinity is stored as null."""
    texts = ("exact" if x is None or x == math.inf else f"{sign}{x:.2f}" for x in values)
    return " / ".join(texts)


if __name__ == "__main__":
    main()
