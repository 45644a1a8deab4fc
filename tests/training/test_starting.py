"""Which settings and images may change before a run is resumed."""

import dataclasses
from pathlib import Path

import pytest

from hyperfunc.data import ImageSource
from hyperfunc.errors import UserError
from hyperfunc.experiment import Workdir, lock_workdir
from hyperfunc.training import train
from hyperfunc.training.starting import check_data, check_same


@pytest.mark.parametrize(
    ("schedule", "changes", "refused"),
    [
        ("trapezoid", {"run": {"steps": 200}}, None),
        ("trapezoid", {"run": {"steps": 50}, "optimizer": {"decay": 0.5}}, None),
        ("trapezoid", {"optimizer": {"final": 0.5}}, "optimizer.final is 0.01 there and 0.5 here"),
        ("trapezoid", {"run": {"steps": 200, "seed": 1}}, "run.seed is 0 there and 1 here: "),
        ("cosine", {"run": {"steps": 200}}, "run.steps is 100 there and 200 here"),
        ("cosine", {"optimizer": {"decay": 0.5}}, "optimizer.decay is 0.3 there and 0.5 here"),
        ("cosine", {"optimizer": {"schedule": "trapezoid"}}, "optimizer.schedule is 'cosine'"),
        ("trapezoid", {"optimizer": {"schedule": "cosine"}}, "optimizer.schedule is 'trapezoid'"),
        ("cosine", {"run": {"keep": 9}, "data": {"threads": 5}}, None),
    ],
)
def test_what_may_change_before_a_run_is_resumed(tiny_experiment, schedule, changes, refused):
    """A trapezoid does not depend on the length of the run before it falls, a cosine does."""
    saved = dataclasses.replace(
        tiny_experiment,
        optimizer=dataclasses.replace(tiny_experiment.optimizer, schedule=schedule),
        run=dataclasses.replace(tiny_experiment.run, steps=100),
    )
    parts = {
        name: dataclasses.replace(getattr(saved, name), **values)
        for name, values in changes.items()
    }
    wanted = dataclasses.replace(saved, **parts)
    if refused is None:
        check_same(wanted, saved, Path("runs/some"))
        return
    with pytest.raises(UserError, match=f"runs/some holds another experiment: {refused}"):
        check_same(wanted, saved, Path("runs/some"))


def test_a_folder_may_be_spelt_in_another_way(tiny_experiment, tmp_path, monkeypatch):
    def experiment(folder):
        data = dataclasses.replace(tiny_experiment.data, dataset=str(folder))
        return dataclasses.replace(tiny_experiment, data=data)

    (tmp_path / "photos").mkdir()
    (tmp_path / "others").mkdir()
    monkeypatch.chdir(tmp_path)
    for same in ("photos", "./photos", "others/../photos"):
        check_same(experiment(same), experiment(tmp_path / "photos"), Path("runs/some"))
    for other in ("others", "gone"):
        with pytest.raises(
            UserError, match=r"data\.dataset is .*photos' there and '(others|gone)'"
        ):
            check_same(experiment(other), experiment(tmp_path / "photos"), Path("runs/some"))


def test_other_images_are_refused(draw):
    """Each name and each size counts: of what is held out others would have been trained on."""
    images = {"a": draw(0, (20, 30)), "b": draw(1, (30, 20))}

    def identify(images):
        return ImageSource("some", list(images), lambda i: list(images.values())[i]).identify()

    saved = identify(images)
    assert saved.startswith("2 images (")
    check_data(identify(dict(images)), saved, Path("runs/some"))
    check_data(saved, "", Path("runs/some"))  # An older checkpoint does not say.
    for changed in (
        {**images, "c": images["a"]},
        {"a": images["a"]},
        {"a": images["a"], "c": images["b"]},
        {"a": images["b"], "b": images["a"]},
    ):
        with pytest.raises(UserError, match="runs/some was trained on 2 images.*start_from=runs"):
            check_data(identify(changed), saved, Path("runs/some"))


def test_a_run_without_data_leaves_no_folder(tiny_experiment, tmp_path):
    data = dataclasses.replace(tiny_experiment.data, dataset=str(tmp_path / "none"))
    experiment = dataclasses.replace(tiny_experiment, data=data)
    (tmp_path / "mine").mkdir()
    for folder in ("runs/deep/a", "mine/a", "mine"):
        with pytest.raises(UserError, match="none"):
            train(experiment, tmp_path / folder)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert not (tmp_path / "mine" / "a").exists()


@pytest.mark.parametrize("name", ["notes.txt", "checkpoints/7/config"])
def test_a_workdir_that_holds_something_stays(tmp_path, name):
    workdir = tmp_path / "runs" / "a"
    with lock_workdir(workdir), Workdir(workdir):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text("something")
    assert (workdir / name).read_text() == "something"
