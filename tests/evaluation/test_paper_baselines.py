"""Networks for one scale are trained and evaluated by the same commands as hypernetworks."""

import json

import jax
import numpy as np
import pytest

import evaluate
import train
from hyperfunc.data import SuperResolution
from hyperfunc.evaluation.methods import make_fixed_scale_method, self_ensemble
from hyperfunc.experiment import load_model
from hyperfunc.images import read_image, write_image
from hyperfunc.networks import SRCNN, RDNUpscaler
from hyperfunc.pixels import degrade, psnr_y
from hyperfunc.training import make_init
from hyperfunc.upscaling import Upscaler

SMALL = {
    "srcnn": ["--model.widths", "4", "5"],
    "rdn": [
        "--model.backbone.width=16",
        "--model.backbone.blocks=1",
        "--model.backbone.layers=2",
        "--model.backbone.growth=3",
    ],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, photos):
    """The workdir of each network after two steps, validated on small crops."""
    folder = tmp_path_factory.mktemp("baselines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SuperResolution, "validation_side", 32)
        for name, settings in SMALL.items():
            shared = ["--data.batch_size=4", "--data.validation=0.2", "--task.crop=8"]
            intervals = ["--run.steps=2", "--run.log_every=1", "--run.validate_every=2"]
            data = [f"--preset={name}", f"--data.dataset={photos}", f"--workdir={folder / name}"]
            train.main([*data, *settings, *shared, *intervals])
    return folder


@pytest.mark.parametrize(("name", "kind"), [("srcnn", SRCNN), ("rdn", RDNUpscaler)])
@pytest.mark.slow
def test_a_baseline_is_trained(runs, name, kind, distance):
    model = load_model(runs / name)
    assert isinstance(model.experiment.model, kind) and model.step == 2
    lines = [json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] > 0 for line in lines if "loss" in line] == [True, True]
    (validated,) = [line for line in lines if "validation/psnr" in line]
    # It is validated at its own scale only.
    scores = [key for key in validated if key.startswith("validation/psnr_")]
    assert scores == ["validation/psnr_x2"]
    assert validated["validation/psnr"] == validated["validation/psnr_x2"] > 0
    start = jax.jit(make_init(model.experiment))().params
    assert distance(start, model.variables["params"]) > 1e-4


@pytest.fixture(scope="module")
def images(tmp_path_factory, draw):
    """Two images of one size, so that each method is compiled once."""
    folder = tmp_path_factory.mktemp("images")
    for i in range(2):
        write_image(folder / f"{i}.png", draw(i, (32, 32)))
    return folder


@pytest.mark.slow
def test_all_methods_stand_in_one_table(runs, trained, images, tmp_path):
    methods = ["bicubic", "srcnn", "rdn", "hyperfunc", "hyperfunc+"]
    evaluate.main(
        [
            f"--dataset={images}",
            "--scale=2",
            f"--methods={','.join(methods)}",
            f"--workdir={trained}",
            f"--srcnn={runs / 'srcnn'}",
            f"--rdn={runs / 'rdn'}",
            f"--json={tmp_path / 'out.json'}",
        ]
    )
    table = json.loads((tmp_path / "out.json").read_text())
    assert [row["method"] for row in table["rows"]] == methods
    hypernetwork = load_model(trained)
    upscaler = Upscaler(hypernetwork.hypernetwork, hypernetwork.variables)
    enlarge = {"hyperfunc": upscaler, "hyperfunc+": self_ensemble(upscaler)}
    for name in ("srcnn", "rdn"):
        model = load_model(runs / name)
        enlarge[name] = make_fixed_scale_method(model.experiment.model, model.variables)
    for name, scored in zip(("0", "1"), table["per_image"], strict=True):
        lr, hr = degrade(read_image(images / f"{name}.png"), (2.0, 2.0))
        for method, function in enlarge.items():
            expected = psnr_y(hr, function(lr, (32, 32)), (2, 2))
            assert scored[method]["psnr_y"] == pytest.approx(expected)
    assert len({row["psnr_y"] for row in table["rows"]}) == len(methods)  # All of them differ.
    assert np.isfinite([row["ssim_y"] for row in table["rows"]]).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--methods=bicubic,fsrcnn", "'fsrcnn'; take some of bicubic, srcnn, rdn, hyperfunc"),
        ("--methods=", "one of the arguments is empty"),
        ("--methods=srcnn", "train.py --preset=srcnn"),
        ("--methods=rdn --srcnn={runs}/srcnn", "train.py --preset=rdn"),
        ("--methods=srcnn --srcnn={runs}/srcnn --scale=3", "evaluate it with --scale=2"),
        ("--methods=srcnn --srcnn={runs}/srcnn --scale=2.5x1", "evaluate it with --scale=2"),
        ("--methods=srcnn --srcnn={trained}", "give the training run of --preset=srcnn"),
        ("--methods=hyperfunc --workdir={runs}/srcnn", "holds SRCNN for scale 2 only"),
        ("--methods=hyperfunc+ --workdir={runs}/rdn", "holds RDNUpscaler for scale 2 only"),
        ("--methods=srcnn --srcnn={runs}/rdn", "holds RDNUpscaler"),
    ],
)
def test_methods_that_cannot_be_evaluated(refuse, runs, trained, images, arguments, named):
    words = arguments.format(runs=runs, trained=trained).split(" ")
    scale = [] if "--scale" in arguments else ["--scale=2"]
    assert named in refuse(evaluate.main, f"--dataset={images}", *scale, *words)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--preset=srcnn --model.scale=3", "set --task.scales 3 and --task.protocol_phase 1"),
        ("--preset=rdn --task.scales 2 3", "set --task.scales 2 and --task.protocol_phase 1"),
        ("--preset=rdn --task.protocol_phase=0.5", "--task.protocol_phase 1"),
        ("--preset=rdn --model.scale=5 --task.scales 5", "scale 5: RDN is defined for 2, 3 and 4"),
    ],
)
def test_settings_that_no_baseline_can_learn(refuse, tmp_path, arguments, named):
    words = [f"--workdir={tmp_path / 'run'}", *arguments.split()]
    assert named in refuse(train.main, *words, lines=None)
    assert not (tmp_path / "run").exists()


def test_the_commands_that_the_presets_name():
    for scale in (3, 4):
        words = [f"--model.scale={scale}", "--task.scales", str(scale)]
        for name in ("srcnn", "rdn"):
            experiment = train.parse(["--workdir=x", f"--preset={name}", *words]).experiment
            assert experiment.model.scale == scale and experiment.task.scales == (scale,)
