"""What a model makes of noisy and dithered images, against bicubic interpolation.

    python -m benchmarks.noise --data_dir=DATA --json=docs/results/noise.json

The reduced images of a set are disturbed and enlarged to twice their size. The truth is the
original, disturbed by the bicubic enlargement of the same: a method is not to remove noise here,
only not to make more of it. PSNR-Y (dB).
"""

import dataclasses
from pathlib import Path

import numpy as np
import tyro

from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.devices import use_cpu_cores
from hyperfunc.experiment import load_model
from hyperfunc.files import save_json
from hyperfunc.pixels import border_for, degrade, imresize, psnr_y
from hyperfunc.upscaling import Upscaler

SCALE = 2

DISTURBANCES = {
    "none": 0.0,
    "sigma 10": 10.0,
    "sigma 25": 25.0,
    "sigma 50": 50.0,
    "sigma 100": 100.0,
    "dithered": None,
}
"""Standard deviations of coloured Gaussian noise, of 255; None for dithering to two levels."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print a table, and write it as JSON.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        dataset: a set of test images.
        workdir: a workdir, or the name of a bundled checkpoint.
        json: file to write.
    """

    data_dir: Path | None = None
    dataset: str = "set14"
    workdir: str = "sr"
    json: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        model = load_model(arguments.workdir)
        upscaler = Upscaler(model.hypernetwork, model.variables)
        source = open_dataset(
            arguments.dataset, data_dir=arguments.data_dir, split="test", strict=False
        )
        result: dict[str, dict[str, float]] = {}
        for name, sigma in DISTURBANCES.items():
            rng = np.random.default_rng(0)
            scores = []
            for i in range(len(source)):
                reduced, original = degrade(np.asarray(source[i]), (SCALE, SCALE))
                disturbed = add_noise(reduced, sigma, rng)
                difference = disturbed - reduced.astype(np.float32)
                size = (original.shape[0], original.shape[1])
                truth = round_levels(original + imresize(difference, size))
                pictures = {"bicubic": imresize(disturbed, size), "ours": upscaler(disturbed, size)}
                border = border_for((SCALE, SCALE))
                scores.append({k: psnr_y(v, truth, border) for k, v in pictures.items()})
            result[name] = {k: float(np.mean([score[k] for score in scores])) for k in scores[0]}
            print(name, {k: round(v, 2) for k, v in result[name].items()}, flush=True)
        if arguments.json is not None:
            about = {"workdir": arguments.workdir, "step": model.step}
            about |= {"dataset": arguments.dataset, "scale": SCALE}
            save_json(arguments.json, {**about, "psnr_y": result})


def add_noise(image: np.ndarray, sigma: float | None, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise to an image, or dither each channel to two levels."""
    if sigma is None:
        return np.where(image + rng.uniform(-128, 128, image.shape) < 128, 0, 255).astype(np.uint8)
    return round_levels(image + rng.normal(0, sigma, image.shape))


def round_levels(image: np.ndarray) -> np.ndarray:
    """Round to whole levels, half to even."""
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
