"""The model card shows what docs/results/restoration.json holds."""

import json
from pathlib import Path

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
