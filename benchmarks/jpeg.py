"""What models make of JPEGs, against bicubic interpolation.

    python -m benchmarks.jpeg --data_dir=DATA --json=docs/results/jpeg.json

The reduced images of a set are saved as JPEGs (as Pillow does it, the chroma halved), read and
enlarged; the truth is the original. PSNR-Y (dB).
"""

import dataclasses
from pathlib import Path

import numpy as np
import tyro

from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset, save_as_jpeg
from hyperfunc.devices import use_cpu_cores
from hyperfunc.evaluation import Method, bicubic
from hyperfunc.experiment import load_model
from hyperfunc.files import save_json
from hyperfunc.pixels import border_for, degrade, psnr_y
from hyperfunc.upscaling import Upscaler

SCALES = (2, 3, 4)

QUALITIES = (None, 95, 85, 75, 50, 30)
"""As libjpeg counts; None: not compressed."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print a table, and write it as JSON.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        dataset: a set of test images.
        workdirs: workdirs, or names of bundled checkpoints.
        json: file to write.
    """

    data_dir: Path | None = None
    dataset: str = "set14"
    workdirs: tuple[str, ...] = ("sr", "sr_jpeg")
    json: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        methods: dict[str, Method] = {"bicubic": bicubic}
        steps = {}
        for workdir in arguments.workdirs:
            model = load_model(workdir)
            methods[workdir] = Upscaler(model.hypernetwork, model.variables)
            steps[workdir] = model.step
        source = open_dataset(
            arguments.dataset, data_dir=arguments.data_dir, split="test", strict=False
        )
        images = [np.asarray(image) for image in source]
        rows = []
        print("| scale | quality | " + " | ".join(methods) + " |\n|" + "---|" * (2 + len(methods)))
        for scale in SCALES:
            pairs = [degrade(image, (scale, scale)) for image in images]
            for quality in QUALITIES:
                scores = {name: [] for name in methods}
                for reduced, original in pairs:
                    observed = reduced if quality is None else save_as_jpeg(reduced, quality)
                    size = (original.shape[0], original.shape[1])
                    for name, enlarge in methods.items():
                        value = psnr_y(
                            enlarge(observed, size), original, border_for((scale, scale))
                        )
                        scores[name].append(value)
                means = {name: float(np.mean(values)) for name, values in scores.items()}
                rows.append({"scale": scale, "quality": quality, "psnr_y": means})
                cells = " | ".join(f"{mean:.2f}" for mean in means.values())
                print(f"| x{scale} | {quality or 'not a JPEG'} | {cells} |", flush=True)
        if arguments.json is not None:
            save_json(arguments.json, {"dataset": arguments.dataset, "steps": steps, "rows": rows})


if __name__ == "__main__":
    main()
