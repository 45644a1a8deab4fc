"""The model card shows what docs/results/restoration.json holds."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import restoration
from benchmarks.pages import read_part, replace_part
from hyperfunc.experiment import load_model

ROOT = Path(__file__).parents[1]

RESULTS = json.loads((ROOT / "docs" / "results" / "restoration.json").read_text())


def test_the_table_is_that_of_the_results() -> None:
    shown = read_part(ROOT / "docs" / "model-card.md", "restoration")
    assert shown == restoration.to_table(RESULTS).strip()


def test_a_part_is_replaced_and_a_page_without_it_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n")
    replace_part(page, "x", "| new |")
    assert page.read_text() == "a\n<!-- x:begin -->\n| new |\n<!-- x:end -->\nb\n"
    with pytest.raises(ValueError, match="no part y"):
        replace_part(page, "y", "")


def test_the_results_are_of_the_bundled_models() -> None:
    models = {name: load_model(name).fingerprint for name in ("restore", "inpaint")}
    for result in RESULTS:
        name = "inpaint" if result["task"] == "inpaint" else "restore"
        assert result["model"] == models[name], result["dataset"]


def test_means_are_those_of_the_images() -> None:
    for result in RESULTS:
        values = [image["hyperfunc"] for image in result["per_image"].values()]
        assert len(values) == result["images"]
        assert abs(sum(values) / len(values) - result["psnr"]["hyperfunc"]) < 1e-3


def test_what_is_asked_for_is_judged() -> None:
    row = restoration.Row("noise", "denoise", "set5", (15,), (1.0,), (2.0,), rivals=("a", "b"))
    assert restoration.best_rival(row, {"a": 20.0, "b": 21.0, "hyperfunc": 30.0}) == ("b", 21.0)
    assert [restoration.judge(x, 1.0, 2.0) for x in (0.9, 1.0, 2.0)] == ["no", "required", "target"]


DNCNN = SimpleNamespace(fingerprint="d", step=1_200)


def test_dncnn_has_a_column_where_it_was_measured() -> None:
    row = restoration.ROWS[0]
    measured = {"model": "d", "step": 1_200, "psnr": 33.333}
    part = [
        {**result, "dncnn": measured} if restoration.find([result], row, 25) else result
        for result in RESULTS
    ]
    heads, _, first, second, *_ = restoration.to_table(part).splitlines()
    column = heads.split(" | ").index("DnCNN (1,200 steps)")
    assert first.split(" | ")[column] == "33.33" and second.split(" | ")[column] == ""
    assert "DnCNN" not in restoration.to_table(RESULTS)


def test_what_was_measured_of_dncnn_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(row, level, model, part, data_dir):
        return {"model": model.fingerprint, "part": list(part)}

    def evaluate(*arguments, **models):
        assert models["dncnn"] is DNCNN
        return SimpleNamespace(rows=[SimpleNamespace(psnr=31.0)])

    monkeypatch.setattr(restoration, "measure", measure)
    monkeypatch.setattr(restoration, "evaluate", evaluate)
    ours, newer = (SimpleNamespace(fingerprint=name) for name in "ab")

    def renew(old, model, dncnn, part=(1, None), **settings):
        row = restoration.Row("", "denoise", "set5", (15,), (1.0,), (2.0,), **settings)
        return restoration.renew(old, row, 15, model, dncnn, part, None)

    first = renew(None, ours, DNCNN)
    measured = {"model": "d", "step": 1_200, "psnr": 31.0}
    assert first == {"model": "a", "part": [1, None], "dncnn": measured}
    assert renew(first, ours, None) == first
    assert renew(first, newer, None) == {**first, "model": "b"}
    assert "dncnn" not in renew(first, ours, None, part=(5, None))  # These are other images.
    assert "dncnn" not in renew(None, ours, DNCNN, scale=2.0)
