"""`info`, `export` and `view`."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hyperfunc.commands import main
from hyperfunc.data import SuperResolution
from hyperfunc.export import load_function
from hyperfunc.images import Photo, write_image, write_photo


def test_info(run, tmp_path, draw, checkpoint):
    grey = draw(0, (20, 24)).mean(axis=2, keepdims=True).astype(np.uint8)
    write_photo(tmp_path / "grey.tif", Photo(grey))
    code, out, _ = run("info", tmp_path / "grey.tif")
    assert code == 0 and "TIFF, 24 x 20 pixels" in out and "grey, 8 bits" in out
    write_photo(tmp_path / "deep.png", Photo(np.zeros((5, 6, 4), np.uint16)))
    assert "RGBA, 16 bits" in run("info", tmp_path / "deep.png")[1]
    code, out, _ = run("info", checkpoint)
    assert code == 0 and "checkpoint of step 7" in out and "parameters" in out
    code, out, _ = run("info", "sr")  # The bundled checkpoint, by its name.
    assert code == 0 and "checkpoints/sr: checkpoint of step" in out
    code, _, err = run("info", tmp_path / "none")
    assert code == 2 and "none" in err
    (tmp_path / "text.txt").write_text("hello")
    assert run("info", tmp_path / "text.txt")[0] == 2


def test_info_of_a_missing_file(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("info", "missing.png")
    assert code == 2 and err == "error: missing.png: no such file or folder; check the path\n"


def test_info_escapes_control_characters(run, tmp_path, save_model):
    """Of a stranger's file a terminal shows what is in it, and obeys nothing."""
    write_image(tmp_path / "a\n\x1b[2J.png", np.full((6, 5, 3), 90, np.uint8))
    run("export", tmp_path / "a\n\x1b[2J.png", "--function", tmp_path / "a.hfn")
    save_model(tmp_path / "run\n\x1b[2J", SuperResolution(scales=(2,), crop=8))
    for name in ("a\n\x1b[2J.png", "a.hfn", "run\n\x1b[2J"):
        code, out, err = run("info", tmp_path / name)
        assert code == 0 and "\\n\\x1b[2J" in out and "\x1b" not in out, err


def test_export_of_the_model(run, tmp_path):
    code, out, err = run("export", "--onnx", tmp_path / "graphs", "--scales", 2, 5, 2)
    assert code == 0, err
    lines = out.splitlines()
    assert [line.partition(":")[0].rpartition("/")[2] for line in lines] == [
        "encoder.onnx",
        "decoder_x2.onnx",
        "decoder_x5.onnx",
        "limiter.onnx",
    ]
    assert all("differs by up to" in line for line in lines)


def test_a_model_and_a_function_of_it_are_exported_together(run, tmp_path, draw, monkeypatch):
    from hyperfunc.experiment import checkpoints

    loaded = []

    def read_variables(folder):
        loaded.append(folder)
        return original(folder)

    original = checkpoints.read_variables
    monkeypatch.setattr(checkpoints, "read_variables", read_variables)
    write_image(tmp_path / "a.png", draw(0, (6, 5)))
    words = ["--onnx", tmp_path / "graphs", "--scales", 2, "--function", tmp_path / "a.hfn"]
    code, _, err = run("export", tmp_path / "a.png", *words)
    assert code == 0, err
    assert len(loaded) == 1
    assert load_function(tmp_path / "a.hfn").size == (6, 5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to export: give --function out.hfn, --html out.html, or --onnx folder"),
        (["a.png"], "nothing to export: give"),
        (["a.png", "--onnx=graphs"], "a.png: give --function out.hfn or --html out.html, too"),
        (["--html=a.html"], "a.html: of which image? give it before the flags"),
        (["--onnx=graphs", "--checkpoint=faces_local"], "has a CosineMLP on windows of"),
    ],
)
def test_exports_that_cannot_be(refuse, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in refuse(main, "export", *words)
    assert not list(tmp_path.rglob("*.*"))


def test_file_names_that_are_not_unicode(run, tmp_path):
    name = os.fsdecode(b"\xff.png")
    write_image(tmp_path / name, np.full((6, 5, 3), 90, np.uint8))
    code, _, err = run("export", tmp_path / name, "--html", tmp_path / "a.html")
    assert code == 0, err
    code, _, err = run("export", tmp_path / name, "--function", tmp_path / "a.hfn")
    assert code == 0, err
    command = [sys.executable, "-m", "hyperfunc", "info", tmp_path / "a.hfn"]
    told = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONUTF8": "0"})
    assert told.returncode == 0 and b"udcff.png" in told.stdout


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_picture_too_large_for_a_page_is_reduced_for_it(run, tmp_path, monkeypatch, draw, kind):
    monkeypatch.setattr("hyperfunc.export.page.page.MAX_SIDE", 20)
    pixels = draw(0, (30, 40)).astype(kind) * (257 if kind == np.uint16 else 1)
    write_photo(tmp_path / "a.png", Photo(pixels))
    words = ("--function", tmp_path / "a.hfn", "--html", tmp_path / "a.html")
    code, out, err = run("export", tmp_path / "a.png", *words)
    assert code == 0, err
    assert "reduced from 40 x 30 to 20 x 15 pixels for the page" in out
    assert load_function(tmp_path / "a.hfn").size == (30, 40)
    page = (tmp_path / "a.html").read_text("utf-8")
    assert '"width": 20, "height": 15' in page


def test_a_model_that_no_page_shows_is_refused_before_the_work(run, tmp_path, monkeypatch):
    def work(*args, **kwargs):
        raise AssertionError("the image was represented")

    monkeypatch.setattr("hyperfunc.api.represent", work)
    write_image(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    words = ("--html", tmp_path / "a.html", "--checkpoint", "sr_paper")
    code, _, err = run("export", tmp_path / "a.png", *words)
    assert code == 2 and "the page shows a FourierField for each pixel" in err


def test_a_function_too_large_for_a_page_is_refused(run, tmp_path, monkeypatch, draw):
    write_image(tmp_path / "a.png", draw(0, (30, 40)))
    assert run("export", tmp_path / "a.png", "--function", tmp_path / "a.hfn")[0] == 0
    monkeypatch.setattr("hyperfunc.export.page.page.MAX_SIDE", 20)
    code, _, err = run("export", tmp_path / "a.hfn", "--html", tmp_path / "a.html")
    assert code == 2 and "40 x 30 pixels are too large for a page" in err
