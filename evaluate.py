"""Evaluate models: parse datasets, methods and checkpoints, and call an evaluator.

python evaluate.py --dataset=urban100 --scale=3
python evaluate.py --dataset=set5 --scale=2 --workdir=runs/sr --json=out.json
python evaluate.py --dataset=set5 --scale=2 --methods=bicubic,srcnn,hyperfunc --srcnn=runs/srcnn_x2
python evaluate.py --task=interpolate --dataset=faces --workdir=runs/faces --out=figures/
"""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import tyro

from hyperfunc.data import FACE_SIZES
from hyperfunc.data import ImageSource, Reconstruction, SuperResolution, open_dataset
from hyperfunc.devices import use_cpu_cores
from hyperfunc.errors import UserError, report_errors
from hyperfunc.evaluation import (
    Method,
    bicubic,
    evaluate_super_resolution,
    evaluate_weight_space,
    make_method,
    self_ensemble,
    summarize,
)
from hyperfunc.experiment import Model, load_model
from hyperfunc.files import check_place, save_json
from hyperfunc.networks import SRCNN, RDNUpscaler
from hyperfunc.pixels import parse_scale

OTHERS = {
    "super_resolution": ("out", "pairs"),
    "interpolate": ("scale", "methods", "srcnn", "rdn", "save_dir"),
}
"""What means nothing to a task, and something to the other."""

METHODS = ("bicubic", "srcnn", "rdn", "hyperfunc", "hyperfunc+")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure PSNR and SSIM of super-resolution, or reconstruction and interpolation of faces.

    Attributes:
        task: "super_resolution", or "interpolate": reconstruct test images and walk between pairs
            of them in weight space and in pixel space.
        dataset: set5, set14, b100, urban100, sample (needs no data), faces, or a folder of images
            (for --task=interpolate every third of them is a test image, the others the reference);
            set5, or faces for --task=interpolate, if not given.
        scale: output pixels per input pixel, such as 3, 2.5, or 2.5x1 for rows x columns.
        methods: what to compare, of bicubic, srcnn, rdn, hyperfunc, and hyperfunc+ (self-ensemble:
            the mean over the eight symmetries of the square, at eight times the cost).
        workdir: a training run, of which the newest checkpoint is used, or one of its checkpoints
            (RUN/checkpoints/STEP), or the name of one that comes with the package: sr, sr_jpeg,
            sr_paper or, for --task=interpolate, faces_local (sr or faces_local if not given).
        srcnn: training run of SRCNN at this scale.
        rdn: training run of RDN at this scale.
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        json: write the numbers to this file.
        save_dir: write results and comparisons into this folder.
        out: write the figures of --task=interpolate into this folder.
        pairs: of images, for --task=interpolate.
    """

    task: Literal["super_resolution", "interpolate"] = "super_resolution"
    dataset: str | None = None
    scale: str = "4"
    methods: str = "bicubic,hyperfunc"
    workdir: str | None = None
    srcnn: Path | None = None
    rdn: Path | None = None
    data_dir: Path | None = None
    json: Path | None = None
    save_dir: Path | None = None
    out: Path | None = None
    pairs: int = 500


def main(args: list[str] | None = None) -> None:
    """Run the command with the given arguments, or those of the process."""
    arguments = tyro.cli(Arguments, args=sys.argv[1:] if args is None else args)
    with report_errors(ends_process=args is None):
        use_cpu_cores()
        _check_flags(arguments)
        if arguments.json is not None:
            check_place(arguments.json)
        if arguments.task == "interpolate":
            evaluate_interpolation(arguments, arguments.dataset or "faces")
        else:
            evaluate_scale(arguments, arguments.dataset or "set5")


def evaluate_scale(arguments: Arguments, dataset: str) -> None:
    """Enlarge a dataset with every method."""
    scale = parse_scale(arguments.scale)
    _check_save_dir(arguments, dataset)
    source = open_dataset(dataset, data_dir=arguments.data_dir, split="test")
    names = [name.strip() for name in arguments.methods.split(",")]
    models: dict[str, Model] = {}
    methods = {name: find_method(name, arguments, models) for name in names}
    table = evaluate_super_resolution(source, methods, scale, save_dir=arguments.save_dir)
    print(table)
    if arguments.json is not None:
        table.save(
            arguments.json,
            models={
                name: {"path": str(model.path), "step": model.step, "model": model.fingerprint}
                for name, model in models.items()
            },
        )


def _check_flags(arguments: Arguments) -> None:
    usual = Arguments()
    for name in OTHERS[arguments.task]:
        if getattr(arguments, name) != getattr(usual, name):
            use = {"out": "--save_dir", "save_dir": "--out"}.get(name)
            raise UserError(
                f"--{name} means nothing to --task={arguments.task}: "
                + (f"give {use}" if use else "leave it out")
            )


def _check_save_dir(arguments: Arguments, dataset: str) -> None:
    folder = Path(dataset).expanduser().resolve()
    if arguments.save_dir is None or not folder.is_dir():
        return
    if arguments.save_dir.resolve().is_relative_to(folder):
        raise UserError(
            f"--save_dir {arguments.save_dir} lies in the folder of the images, {folder}, and "
            "would be evaluated with them the next time: give another folder"
        )


def find_method(name: str, arguments: Arguments, models: dict[str, Model]) -> Method:
    """Find a method, with its checkpoint, which is added to ``models``."""
    if name == "bicubic":
        return bicubic
    if name in ("hyperfunc", "hyperfunc+"):
        model = load_model(arguments.workdir or "sr")
        if not isinstance(model.experiment.task, SuperResolution):
            raise _another_task(model, "super-resolution", "a super-resolution preset")
        models[name] = model
        _ = model.hypernetwork  # Refuses a baseline.
        method = make_method(model)
        return self_ensemble(method) if name == "hyperfunc+" else method
    if name not in METHODS:
        raise UserError(f"--methods: there is no {name!r}; take some of {', '.join(METHODS)}")
    workdir = arguments.srcnn if name == "srcnn" else arguments.rdn
    if workdir is None:
        raise UserError(
            f"{name} has to be trained for each scale: give its training run as --{name}, made by "
            f"python train.py --preset={name}"
        )
    model = load_model(workdir)
    network = model.experiment.model
    if not isinstance(network, SRCNN if name == "srcnn" else RDNUpscaler):
        raise UserError(
            f"{model.path} holds {type(network).__name__}: give the training run of "
            f"--preset={name} as --{name}"
        )
    models[name] = model
    return make_method(model)


def evaluate_interpolation(arguments: Arguments, dataset: str) -> None:
    """Reconstruct and walk between images."""
    model = load_model(arguments.workdir or "faces_local")
    task = model.experiment.task
    if not isinstance(task, Reconstruction):
        raise _another_task(model, "reconstruction", "--preset=faces")
    if dataset in ("faces", "celeb_a") and task.size not in FACE_SIZES:
        raise UserError(
            f"{model.path} was trained on images of {task.size} pixels, and faces come in "
            f"{FACE_SIZES}: give a folder of images as --dataset"
        )

    def open_at(size: int, split: str) -> ImageSource:
        return open_dataset(dataset, data_dir=arguments.data_dir, split=split, size=size)

    test, real = open_at(task.size, "test"), open_at(task.size, "train")
    if test.names == real.names:  # A folder has no split of its own: a third of it is the test.
        test, real = (
            real.select([i for i in range(len(real)) if (i % 3 == 0) == is_test])
            for is_test in (True, False)
        )
    # As many other faces again as there are test faces for the reference, and for the features.
    count = min(2 * len(test), len(real))
    real = real.select([i * len(real) // count for i in range(count)])
    has_large = dataset in ("faces", "celeb_a") and 2 * task.size in FACE_SIZES
    large = open_at(2 * task.size, "test") if has_large else None
    result = evaluate_weight_space(
        model, test, large, real, pairs=arguments.pairs, out=arguments.out
    )
    print(summarize(result))
    if arguments.json is not None:
        save_json(arguments.json, result)


def _another_task(model: Model, wanted: str, preset: str) -> UserError:
    task = type(model.experiment.task).__name__
    return UserError(
        f"{model.path} was trained for {task}, not for {wanted}: give the --workdir of {preset}"
    )


if __name__ == "__main__":
    main()
