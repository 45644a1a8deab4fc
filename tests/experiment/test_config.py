import json
import math

import pytest

from hyperfunc.data import Degradation, Reconstruction, SuperResolution
from hyperfunc.errors import UserError
from hyperfunc.experiment import PRESETS, Experiment, to_dict
from hyperfunc.experiment.config import Data, Run, from_dict
from hyperfunc.experiment.optimizers import Optimizer
from hyperfunc.networks import (
    EDSR,
    RDN,
    SRCNN,
    CosineMLP,
    DenseTrunk,
    FourierField,
    InceptionTrunk,
    PatchHypernetwork,
    PixelHypernetwork,
    RDNUpscaler,
    VapSR,
)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip_through_json(name):
    restored = from_dict(json.loads(json.dumps(to_dict(PRESETS[name]))))
    assert restored == PRESETS[name]
    assert hash(restored) == hash(PRESETS[name])


def test_presets_differ():
    assert len({json.dumps(to_dict(preset)) for preset in PRESETS.values()}) == len(PRESETS)


def test_what_is_not_given_has_its_default():
    assert from_dict({}) == Experiment()
    assert from_dict({"run": {"steps": 7}}) == Experiment(run=Run(steps=7))


def test_plain_data_name_the_components_and_nothing_of_flax():
    data = to_dict(Experiment())
    assert data["model"]["type"] == "PixelHypernetwork"
    assert data["model"]["backbone"]["type"] == "EDSR"
    assert data["model"]["target"]["type"] == "FourierField"
    assert data["task"]["type"] == "SuperResolution"
    assert not {"parent", "name"} & set(data["model"]) | {"parent", "name"} & set(
        data["model"]["backbone"]
    )


def changed(*path_and_value):
    """The default experiment as plain data, with one entry set."""
    *path, last, value = path_and_value
    data = branch = to_dict(Experiment())
    for name in path:
        branch = branch[name]
    branch[last] = value
    return data


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (changed("sauce", 1), "sauce"),
        (changed("run", "stepps", 1), "stepps"),
        (changed("model", "backbone", "widht", 64), "widht"),
        (changed("model", "backbone", "name", "x"), "name"),
        (changed("model", "type", "MagicHypernetwork"), "MagicHypernetwork"),
        (changed("model", "backbone", "type", "SENet"), "SENet"),
        (changed("model", "target", "type", "SIREN"), "SIREN"),
        (changed("task", "type", "Denoising"), "Denoising"),
        (changed("run", "steps", "many"), "run.steps"),
        (changed("run", "steps", 0), "steps 0"),
        (changed("task", "crop", 1), "crop of 1"),
        (changed("run", "loss", "l3"), "l3"),
        (changed("model", "backbone", "dtype", "float16"), "float16"),
        (changed("model", "base", "spline"), "spline"),
        (changed("model", 5), "model"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_is_no_experiment_is_an_error_that_names_it(data, named):
    with pytest.raises(UserError, match=named) as error:
        from_dict(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Data(batch_size=0), "batch_size 0"),
        (lambda: Data(validation=1.0), "validation 1.0"),
        (lambda: Data(weights=(("a", 1.0), ("b", 0.0))), "a weight of 0.0 for b"),
        (lambda: Data(weights=(("a", 1.0), ("a", 2.0))), "name a more than once"),
        (lambda: Run(steps=0), "steps 0"),
        (lambda: Run(save_every=0), "save_every 0"),
        (lambda: Run(ema=1.0), "ema 1.0"),
        (lambda: Run(seed=-1), "seed -1"),
        (lambda: Run(seed=2**40), "seed 1099511627776"),
        (lambda: Data(threads=-1), "threads -1"),
        (lambda: Optimizer(learning_rate=-1.0), "learning_rate -1.0"),
        (lambda: Optimizer(clip_norm=-1.0), "clip_norm -1.0"),
        (lambda: Optimizer(weight_decay=math.nan), "weight_decay nan"),
        (lambda: Optimizer(muon_learning_rate=math.inf), "muon_learning_rate inf"),
        (lambda: Optimizer(decay=1.5), "decay 1.5"),
        (lambda: Optimizer(b2=1.0), "b2 1.0"),
        (lambda: EDSR(blocks=-1), "blocks -1"),
        (lambda: EDSR(blocks=0, fusion=True), "blocks 0"),
        (lambda: RDN(growth=0), "growth 0"),
        (lambda: VapSR(attention_width=0), "attention_width 0"),
        (lambda: InceptionTrunk(stride=0), "stride 0"),
        (lambda: InceptionTrunk(blocks=-1), "blocks -1"),
        (lambda: CosineMLP(gain=-1.0), "gain -1.0"),
        (lambda: DenseTrunk(width=0), "width 0"),
        (lambda: FourierField(channels=0), "channels 0"),
        (lambda: CosineMLP(channels=0), "channels 0"),
        (lambda: CosineMLP(frequency=math.inf), "frequency inf"),
        (lambda: FourierField(bandwidth=math.nan), "within nan pi"),
        (lambda: EDSR(residual_scale=-0.1), "residual_scale -0.1"),
        (lambda: SRCNN(widths=(64, 0)), r"widths \(64, 0\)"),
        (lambda: SRCNN(scale=0), "scale 0"),
        (lambda: PixelHypernetwork(branch_scale=math.nan), "branch_scale nan"),
        (lambda: PatchHypernetwork(branch_width=0), "branch_width 0"),
        (lambda: PatchHypernetwork(pool=-1), "pool -1"),
    ],
)
def test_settings_out_of_range_say_what_is_wrong(make, named):
    with pytest.raises(ValueError, match=named):
        make()


# A network for one scale is trained for that scale, on the grid of the evaluation protocol.

FOR_THREE = SuperResolution(scales=(3,), protocol_phase=1.0)


@pytest.mark.parametrize("model", [SRCNN(scale=3), RDNUpscaler(RDN(width=4), scale=3)])
def test_a_network_for_one_scale_learns_that_scale(model):
    experiment = Experiment(model=model, task=FOR_THREE)
    assert from_dict(json.loads(json.dumps(to_dict(experiment)))) == experiment
    for other in (
        SuperResolution(),
        SuperResolution(scales=(2,), protocol_phase=1.0),
        SuperResolution(scales=(3, 4), protocol_phase=1.0),
        SuperResolution(scales=(3,), protocol_phase=0.5),
        Reconstruction(),
    ):
        named = f"{type(model).__name__} .* --task.scales 3 and --task.protocol_phase 1"
        with pytest.raises(ValueError, match=named):
            Experiment(model=model, task=other)
        data = {**to_dict(experiment), "task": to_dict(Experiment(task=other))["task"]}
        with pytest.raises(UserError, match=named):
            from_dict(data)


def test_a_network_for_one_scale_skips_no_pixels():
    with pytest.raises(ValueError, match="SRCNN is for scale 3 only"):
        Experiment(model=SRCNN(scale=3), task=Reconstruction(stride=2))


@pytest.mark.parametrize("what", ["blur", "noise", "jpeg"])
def test_degraded_examples_are_made_on_the_host(what):
    task = SuperResolution(degradation=Degradation(**{what: 0.5}))
    with pytest.raises(ValueError, match=f"{what}=0.5.* --data.resident=False"):
        Experiment(task=task, data=Data(resident=True))
    assert Experiment(task=task, data=Data(resident=False)).task == task


def test_the_jpeg_of_earlier_versions_is_a_degradation():
    """They had the probability as a field of the task, and qualities from 30 to 95."""
    data = to_dict(Experiment())
    del data["task"]["degradation"]
    assert from_dict(data) == Experiment()
    data["task"]["jpeg"] = 0.8
    expected = SuperResolution(degradation=Degradation(jpeg=0.8, jpeg_quality=(30, 95)))
    assert from_dict(data).task == expected


def test_a_hypernetwork_learns_any_task():
    for task in (FOR_THREE, SuperResolution(scales=(2, 3)), Reconstruction()):
        assert Experiment(task=task).task == task
