"""The paper's tables and figures on one page, of tiny data and a tiny model."""

import json
import re
import zipfile

import pytest
from PIL import Image

from hyperfunc.commands import main
from hyperfunc.errors import UserError
from hyperfunc.evaluation import Reproduction, reproduction
from hyperfunc.experiment import load_model
from hyperfunc.images import write_image

OURS = "hypernetwork, the paper's patches"


@pytest.fixture(scope="module")
def data(tmp_path_factory, draw):
    """A folder with two images as Set5, and with drawn faces."""
    folder = tmp_path_factory.mktemp("data")
    for i in range(2):
        write_image(folder / "benchmarks" / "set5" / f"{i}.png", draw(i, (48, 48)))
    (folder / "faces").mkdir()
    for split, count in (("test", 5), ("train", 10)):
        with zipfile.ZipFile(folder / "faces" / f"{split}.zip", "w") as archive:
            for i in range(count):
                with archive.open(f"{i:06}.png", "w") as file:
                    Image.fromarray(draw(i + count, (154, 146))).save(file, "png")
    return folder


@pytest.fixture
def systems(monkeypatch, trained):
    """Two systems are there: bicubic interpolation, and a tiny model as the paper's kind."""
    systems = {**dict.fromkeys(reproduction.SYSTEMS, "missing"), OURS: trained.name}
    monkeypatch.setattr(reproduction, "SYSTEMS", systems)


@pytest.mark.slow
def test_a_quick_look_is_made_once(systems, trained, data, tmp_path, monkeypatch, capsys):
    words = ["reproduce", "--quick", f"--out={tmp_path}", f"--data_dir={data}"]
    words.append(f"--runs={trained.parent}")
    main(words)
    assert capsys.readouterr().out.strip() == str(tmp_path / "index.html")
    record = json.loads((tmp_path / "reproduction.json").read_text())
    cells = {(c["dataset"], c["scale"], c["system"]): c for c in record["cells"]}
    assert set(cells) == {("set5", s, x) for s in "234" for x in ("bicubic", OURS)}
    assert cells["set5", "3", OURS]["model"] == load_model(trained).fingerprint
    assert record["faces"]["name"] == "faces_local"
    page = (tmp_path / "index.html").read_text("utf-8")
    table = (tmp_path / "reproduction.md").read_text("utf-8")
    scores = f"{cells['set5', '3', OURS]['psnr_y']:.2f} / {cells['set5', '3', OURS]['ssim_y']:.4f}"
    assert "32.85 / 0.9100" in page and scores in page and scores in table
    pictures = re.findall('<img src="([^"]+)"', page)
    assert len(pictures) == 2 * 2 + 5
    assert all((tmp_path / picture).is_file() for picture in pictures)

    def refuse(*_, **__):
        raise AssertionError("it was made before")

    monkeypatch.setattr(reproduction, "evaluate_super_resolution", refuse)
    monkeypatch.setattr(reproduction, "evaluate_weight_space", refuse)
    main(words)
    assert (tmp_path / "index.html").read_text("utf-8") == page
    record["cells"][0]["model"] = "another"
    (tmp_path / "reproduction.json").write_text(json.dumps(record))
    with pytest.raises(AssertionError, match="it was made before"):
        Reproduction(tmp_path, trained.parent, data, is_quick=True).make()


def test_missing_data_are_told_before_the_work(data, tmp_path, monkeypatch):
    (tmp_path / "benchmarks").symlink_to(data / "benchmarks")
    monkeypatch.setattr(Reproduction, "list_jobs", lambda _: pytest.fail("the work has begun"))
    with pytest.raises(UserError, match="faces"):
        Reproduction(tmp_path / "out", tmp_path, tmp_path, is_quick=True).make()


def test_what_is_missing_is_trained(systems, trained, tmp_path, monkeypatch):
    experiment = load_model(trained).experiment
    names = (trained.name, "faces")
    monkeypatch.setattr(reproduction, "list_trainings", lambda: dict.fromkeys(names, experiment))
    for is_quick, trainings in ((False, ["train faces"]), (True, [])):
        jobs = Reproduction(tmp_path, trained.parent, is_quick=is_quick).list_jobs()
        assert [job.name for job in jobs if job.name.startswith("train ")] == trainings


def test_every_system_has_a_checkpoint():
    runs = reproduction.list_trainings()
    assert runs.keys() == reproduction.TRAINING_SECONDS.keys()
    for template in filter(None, reproduction.SYSTEMS.values()):
        for scale in reproduction.SCALES:
            name = template.format(scale=scale)
            assert name in runs or load_model(name).step
    for name, experiment in runs.items():
        assert experiment.data.batch_size % reproduction.BATCH_DIVISOR == 0, name
        if name[-1].isdigit():
            assert experiment.model.scale == experiment.task.scales[0] == int(name[-1])


def test_a_damaged_record_is_told(refuse, tmp_path):
    (tmp_path / "reproduction.json").write_text("{")
    error = refuse(main, "reproduce", "--quick", f"--out={tmp_path}")
    assert "reproduction.json: is damaged" in error
