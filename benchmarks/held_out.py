"""What a model reaches on the held-out training images: how checkpoints and recipes are chosen.

    python benchmarks/held_out.py --data_dir=../shared/data --workdir=runs/sr

PSNR-Y (dB) of the centre 192 x 192 of each image, for each folder of the dataset. Training prints
the mean of them all; this tells folders apart, and compares models that were trained with others.
"""

import dataclasses
from pathlib import Path

import jax
import tyro

from hyperfunc.atomic import save_json
from hyperfunc.checkpoint import load_model
from hyperfunc.datasets import open_dataset
from hyperfunc.errors import report_errors
from hyperfunc.sharding import make_mesh, replicated, use_cpu_cores
from hyperfunc.tasks import SuperResolution
from hyperfunc.training import split_validation
from hyperfunc.validation import Validator


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print a row for each folder, and write them as JSON.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        dataset: what was trained on.
        validation: part of the images that was held out.
        workdir: a workdir, or the name of a bundled checkpoint.
        step: of the workdir; the newest if not given.
        jpeg: compress what is enlarged, each image with a quality of its own.
        json: file to write.
    """

    data_dir: Path | None = None
    dataset: str = "train"
    validation: float = 0.04
    workdir: str = "sr"
    step: int | None = None
    jpeg: bool = False
    json: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        model = load_model(arguments.workdir, step=arguments.step)
        network, task, mesh = model.experiment.model, model.experiment.task, make_mesh()
        if isinstance(task, SuperResolution):
            task = dataclasses.replace(task, jpeg=float(arguments.jpeg))
        variables = jax.device_put(model.variables, replicated(mesh))
        source = open_dataset(
            arguments.dataset, data_dir=arguments.data_dir, split="train", strict=False
        )
        _, held_out = split_validation(source, arguments.validation)
        folders = [name.rpartition("/")[0] for name in held_out.names]
        result: dict[str, dict[str, float]] = {}
        for folder in sorted(set(folders)):
            images = held_out.select([i for i, other in enumerate(folders) if other == folder])
            validator = Validator(network, task, images, mesh)
            scores, _ = validator(variables)
            result[folder] = {name.removeprefix("validation/"): x for name, x in scores.items()}
            print(folder, len(images), {k: round(v, 3) for k, v in result[folder].items()})
            result[folder]["images"] = len(images)
        if arguments.json is not None:
            about = {"workdir": arguments.workdir, "step": model.step, "jpeg": arguments.jpeg}
            save_json(arguments.json, {**about, "psnr_y": result})


if __name__ == "__main__":
    main()
