"""``hyperfunc evaluate`` and ``python evaluate.py``: measure models.

python evaluate.py --dataset=urban100 --scale=3
python evaluate.py --dataset=set5 --scale=2 --workdir=runs/sr --json=out.json
python evaluate.py --dataset=set5 --scale=2 --methods=bicubic,srcnn,hyperfunc --srcnn=runs/srcnn_x2
python evaluate.py --task=denoise --dataset=cbsd68 --level=15,25,50
python evaluate.py --task=denoise --dncnn=runs/dncnn
python evaluate.py --task=interpolate --dataset=faces --workdir=runs/faces --out=figures/
"""

import dataclasses
import functools
import sys
from typing import TYPE_CHECKING, Any, Literal, cast

from hyperfunc.cache import keep_compilations
from hyperfunc.commands.arguments import (
    Common,
    CommonFlags,
    OptionalPath,
    OptionalText,
    check_apart,
    parse_arguments,
)
from hyperfunc.commands.running import run_command
from hyperfunc.errors import UserError
from hyperfunc.files import check_place, save_json

if TYPE_CHECKING:
    from hyperfunc.evaluation import RestorationTask
    from hyperfunc.experiment import Model

NOT_FOR_RESTORATION = {"out": "give --save_dir", **dict.fromkeys(("pairs", "srcnn", "rdn"), "")}

FLAGS_OF_OTHER_TASKS = {
    "super_resolution": {
        "out": "give --save_dir",
        **dict.fromkeys(("pairs", "level", "dncnn"), ""),
    },
    "interpolate": {
        **dict.fromkeys(("scale", "methods", "srcnn", "rdn", "dncnn", "level"), ""),
        "save_dir": "give --out",
    },
    **dict.fromkeys(("denoise", "deblock", "deblur"), NOT_FOR_RESTORATION),
    "inpaint": {**NOT_FOR_RESTORATION, "dncnn": ""},
}
"""For each task, the flags that mean nothing to it, and which flag to give instead ("": none)."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure how well models enlarge, restore or reconstruct images.

    Attributes:
        task: "super_resolution" measures PSNR and SSIM of enlarged images. "denoise", "deblock"
            (JPEG), "deblur" and "inpaint" measure PSNR of images that were damaged and restored.
            "interpolate" reconstructs test images, and interpolates between pairs of them in weight
            space and in pixel space.
        dataset: one of set5, set14, b100, urban100, cbsd68, live1, classic5, faces and sample (five
            photographs that need no data folder), or a folder of images. Of a folder,
            --task=interpolate takes every third image as a test image and the others as the
            reference. If not given, it is set5, or faces with --task=interpolate.
        scale: output pixels per input pixel, such as 3, 2.5, or 2.5x1 for rows x columns. If not
            given, 4, or 1 where images are restored: a larger one restores and enlarges.
        level: how strong the damage is, one number or several: 15,25,50. It is the standard
            deviation of the noise in levels of 255, libjpeg's quality, or the percentage of the
            pixels that are missing. For deblur, gaussian:SIGMA in pixels, or motion:LENGTH:ANGLE in
            pixels and degrees: gaussian:1.6,motion:15:30. If not given, the levels of published
            tables, and two motions.
        methods: what to compare: some of bicubic, srcnn, rdn, hyperfunc, and hyperfunc+
            (self-ensemble: the mean over the eight symmetries of the square, at eight times the
            cost). Where images are restored, some of observed, hyperfunc, the methods of
            scikit-image (non-local, wavelets and variation; for deblur wiener and richardson-lucy;
            for inpaint biharmonic), at scale 1 dncnn (not for inpaint), and at scales above 1
            hyperfunc-bicubic and hyperfunc-sr (restore first, then enlarge), sr-hyperfunc (the
            other way round; not for inpaint) and, for deblock, sr_jpeg; all of them if not given,
            dncnn where --dncnn is.
        workdir: the model: a training run, of which the newest checkpoint is used, one of its
            checkpoints (RUN/checkpoints/STEP), or the name of a bundled one: sr, sr_jpeg, restore,
            inpaint, sr_paper, or faces_local for --task=interpolate. If not given, sr, restore,
            inpaint or faces_local.
        srcnn: a training run of SRCNN at this scale.
        rdn: a training run of RDN at this scale.
        dncnn: a training run of DnCNN, for denoise, deblock and deblur at scale 1.
        data_dir: the folder of the datasets; HYPERFUNC_DATA_DIR if not given.
        json: write the numbers to this file.
        save_dir: write comparisons, and the images that were enlarged, to this folder.
        out: write the figures of --task=interpolate to this folder.
        pairs: number of pairs of images for --task=interpolate.
    """

    task: Literal["super_resolution", "denoise", "deblock", "deblur", "inpaint", "interpolate"] = (
        "super_resolution"
    )
    dataset: OptionalText = None
    scale: OptionalText = None
    level: OptionalText = None
    methods: OptionalText = None
    workdir: OptionalText = None
    srcnn: OptionalPath = None
    rdn: OptionalPath = None
    dncnn: OptionalPath = None
    data_dir: OptionalPath = None
    json: OptionalPath = None
    save_dir: OptionalPath = None
    out: OptionalPath = None
    pairs: int = 500
    common: CommonFlags = Common()


def main(args: list[str] | None = None) -> None:
    """Run the command with the given arguments, or those of the process."""
    parse = functools.partial(parse_arguments, Arguments)
    run_command(parse, run, sys.argv[1:] if args is None else args, owns_process=args is None)


def run(arguments: Arguments) -> None:
    """Evaluate, print a table, and write what was asked for."""
    from hyperfunc.devices import use_cpu_cores

    use_cpu_cores()
    keep_compilations()
    _check_flags(arguments)
    for flag, folder in (("--save_dir", arguments.save_dir), ("--out", arguments.out)):
        check_apart(flag, folder, _name_dataset(arguments))
        if folder is not None:
            check_place(folder / "image.png")
    if arguments.json is not None:
        check_place(arguments.json)
    if arguments.task == "interpolate":
        _evaluate_weight_space(arguments)
    elif arguments.task == "super_resolution":
        _evaluate_super_resolution(arguments)
    else:
        _evaluate_restoration(arguments, arguments.task)


def _name_dataset(arguments: Arguments) -> str:
    return arguments.dataset or ("faces" if arguments.task == "interpolate" else "set5")


def _evaluate_super_resolution(arguments: Arguments) -> None:
    from hyperfunc.data import open_dataset
    from hyperfunc.evaluation import evaluate_super_resolution, load_methods
    from hyperfunc.pixels import parse_scale

    dataset = _name_dataset(arguments)
    scale = parse_scale("4" if arguments.scale is None else arguments.scale)
    source = open_dataset(dataset, data_dir=arguments.data_dir, split="test")
    methods, models = load_methods(
        _split("bicubic,hyperfunc" if arguments.methods is None else arguments.methods),
        checkpoint=arguments.workdir or "sr",
        baselines={"srcnn": arguments.srcnn, "rdn": arguments.rdn},
    )
    table = evaluate_super_resolution(source, methods, scale, save_dir=arguments.save_dir)
    print(table)
    if arguments.json is not None:
        described = {name: _describe(model) for name, model in models.items()}
        save_json(arguments.json, {**dataclasses.asdict(table), "models": described})


def _evaluate_restoration(arguments: Arguments, task: "RestorationTask") -> None:
    from hyperfunc.data import open_dataset
    from hyperfunc.evaluation import (
        LEVELS,
        evaluate_restoration,
        load_baseline,
        load_restorers,
        parse_levels,
    )
    from hyperfunc.pixels import parse_scale

    rows, cols = parse_scale("1" if arguments.scale is None else arguments.scale)
    if rows != cols:
        raise UserError(f"--scale {arguments.scale}: --task={task} needs one scale of both axes")
    levels = LEVELS[task] if arguments.level is None else parse_levels(task, arguments.level)
    source = open_dataset(_name_dataset(arguments), data_dir=arguments.data_dir, split="test")
    dncnn = None if arguments.dncnn is None else load_baseline("dncnn", arguments.dncnn)
    restorers, model = load_restorers(
        None if arguments.methods is None else _split(arguments.methods),
        task,
        rows,
        checkpoint=arguments.workdir or ("inpaint" if task == "inpaint" else "restore"),
        dncnn=dncnn,
    )
    table = evaluate_restoration(
        source, restorers, task, levels, scale=rows, save_dir=arguments.save_dir
    )
    print(table)
    if arguments.json is not None:
        described = {"model": model and _describe(model), "dncnn": None}
        if dncnn is not None and "dncnn" in restorers:
            described["dncnn"] = _describe(dncnn)
        save_json(arguments.json, {**dataclasses.asdict(table), **described})


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _describe(model: "Model") -> dict[str, Any]:
    return {"path": str(model.path), "step": model.step, "model": model.fingerprint}


def _evaluate_weight_space(arguments: Arguments) -> None:
    from hyperfunc.data import Reconstruction
    from hyperfunc.evaluation import evaluate_weight_space, open_image_sets, summarize
    from hyperfunc.experiment import load_model

    model = load_model(arguments.workdir or "faces_local")
    model.check_task("Reconstruction")
    size = cast(Reconstruction, model.experiment.task).size
    sets = open_image_sets(_name_dataset(arguments), size, data_dir=arguments.data_dir)
    result = evaluate_weight_space(model, sets, pairs=arguments.pairs, out=arguments.out)
    print(summarize(result))
    if arguments.json is not None:
        save_json(arguments.json, result)


def _check_flags(arguments: Arguments) -> None:
    default = Arguments()
    for name, remedy in FLAGS_OF_OTHER_TASKS[arguments.task].items():
        if getattr(arguments, name) != getattr(default, name):
            remedy = remedy or "leave it out"
            raise UserError(f"--{name} means nothing to --task={arguments.task}: {remedy}")
