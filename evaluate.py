"""Evaluate a model: parse dataset, scale and checkpoint, and call an evaluator.

python evaluate.py --dataset=urban100 --scale=3
python evaluate.py --dataset=set5 --scale=2 --workdir=runs/sr --json=out.json
"""

import dataclasses
import sys
from pathlib import Path

import tyro

from hyperfunc.baselines import bicubic
from hyperfunc.checkpoint import load_model
from hyperfunc.datasets import open_dataset
from hyperfunc.errors import UserError, report_errors
from hyperfunc.evaluators import evaluate_super_resolution, parse_scale
from hyperfunc.sharding import use_cpu_cores
from hyperfunc.tasks import SuperResolution
from hyperfunc.tiling import Upscaler


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure PSNR and SSIM of super-resolution, beside bicubic interpolation.

    Attributes:
        dataset: set5, set14, b100, urban100, sample (needs no data), or a folder of images.
        scale: output pixels per input pixel, such as 3, 2.5, or 2.5x1 for rows x columns.
        workdir: a training run, of which the newest checkpoint is used; the checkpoint that comes
            with the package if not given.
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        json: write the table to this file.
        save_dir: write results and comparisons into this folder.
    """

    dataset: str = "set5"
    scale: str = "4"
    workdir: Path | None = None
    data_dir: Path | None = None
    json: Path | None = None
    save_dir: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command with the given arguments, or those of the process."""
    arguments = tyro.cli(Arguments, args=sys.argv[1:] if args is None else args)
    with report_errors():
        use_cpu_cores()
        scale = parse_scale(arguments.scale)
        source = open_dataset(arguments.dataset, data_dir=arguments.data_dir, split="test")
        model = load_model(arguments.workdir or "sr")
        if not isinstance(model.experiment.task, SuperResolution):
            raise UserError(
                f"{model.path} was trained for {type(model.experiment.task).__name__}, not for "
                "super-resolution: give the --workdir of a super-resolution preset"
            )
        methods = {
            "bicubic": bicubic,
            "hyperfunc": Upscaler(model.experiment.model, model.variables),
        }
        table = evaluate_super_resolution(source, methods, scale, save_dir=arguments.save_dir)
        print(table)
        if arguments.json is not None:
            table.save(arguments.json)


if __name__ == "__main__":
    main()
