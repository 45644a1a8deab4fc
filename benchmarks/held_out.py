r"""What models reach on the held-out training images: how checkpoints and recipes are chosen.

    python -m benchmarks.held_out --data_dir=DATA --json=docs/results/held_out.json \
        --workdirs sr sr_jpeg checkpoints/in-progress/sr_vapsr

PSNR-Y (dB) of the centre 192 x 192 of each image, for each folder of the dataset, as it is and
compressed. Training prints the mean of them all; this tells folders apart, and compares models that
were trained with others.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import tyro

from hyperfunc.commands import report_errors
from hyperfunc.data import Degradation, ImageSource, SuperResolution, open_dataset
from hyperfunc.devices import make_mesh, replicated, use_cpu_cores
from hyperfunc.experiment import Model, load_model
from hyperfunc.files import check_place, save_json
from hyperfunc.training import Validator, split_validation


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print a row for each model and folder, and write them as JSON.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        dataset: what was trained on.
        validation: part of the images that was held out.
        workdirs: workdirs, their checkpoints (RUN/checkpoints/STEP), or names of bundled ones.
        json: file to write.
    """

    data_dir: Path | None = None
    dataset: str = "train"
    validation: float = 0.04
    workdirs: tuple[str, ...] = ("sr",)
    json: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        if arguments.json is not None:
            check_place(arguments.json)
        models = {workdir: load_model(workdir) for workdir in arguments.workdirs}
        source = open_dataset(
            arguments.dataset, data_dir=arguments.data_dir, split="train", strict=False
        )
        _, held_out = split_validation(source, arguments.validation)
        rows = []
        for workdir, model in models.items():
            for jpeg in (False, True):
                about = {"workdir": workdir, "step": model.step, "jpeg": jpeg}
                rows.append({**about, **measure(model, held_out, jpeg=jpeg)})
                print(f"{workdir}, {'JPEGs' if jpeg else 'not compressed'}: {rows[-1]['mean']:.3f}")
        if arguments.json is not None:
            images = held_out.identify()
            save_json(arguments.json, {"images": images, "unit": "PSNR-Y in dB", "rows": rows})


def measure(model: Model, held_out: ImageSource, *, jpeg: bool) -> dict[str, Any]:
    """PSNR-Y by folder and scale, and the mean over images of the mean over scales.

    Args:
        model: what is measured.
        held_out: the images.
        jpeg: compress what is enlarged, each image with a quality of its own.
    """
    task, mesh = model.experiment.task, make_mesh()
    if isinstance(task, SuperResolution):
        task = dataclasses.replace(task, degradation=Degradation(jpeg=float(jpeg)))
    variables = jax.device_put(model.variables, replicated(mesh))
    folders = [name.rpartition("/")[0] for name in held_out.names]
    result: dict[str, Any] = {}
    for folder in sorted(set(folders)):
        images = held_out.select([i for i, other in enumerate(folders) if other == folder])
        scores, _ = Validator(model.experiment.model, task, images, mesh)(variables)
        scores = {name.removeprefix("validation/"): value for name, value in scores.items()}
        print(folder, len(images), {name: round(value, 3) for name, value in scores.items()})
        result[folder] = {"images": len(images), **scores}
    total = sum(one["images"] * one["psnr"] for one in result.values())
    return {"mean": total / len(held_out), "folders": result}


if __name__ == "__main__":
    main()
