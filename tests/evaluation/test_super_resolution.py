"""The evaluation of super-resolution: the table, the pictures, and the self-ensemble."""

import dataclasses
import json
import math

import numpy as np
import pytest

from hyperfunc.data import ImageSource
from hyperfunc.errors import UserError
from hyperfunc.evaluation import PROTOCOL, evaluate_super_resolution
from hyperfunc.evaluation.methods import self_ensemble
from hyperfunc.evaluation.super_resolution import Table
from hyperfunc.files import save_json
from hyperfunc.images import read_image
from hyperfunc.pixels import degrade, imresize, parse_scale, psnr_y, ssim_y


@pytest.fixture
def source(draw):
    images = [draw(seed, size) for seed, size in enumerate([(40, 48), (37, 50), (64, 33)])]
    return ImageSource("three", ["a", "b", "c"], lambda i: images[i].copy())


def nearest(lr, size):
    rows, cols = (np.arange(n) * m // n for n, m in zip(size, lr.shape[:2], strict=True))
    return lr[np.ix_(rows, cols)]


METHODS = {"bicubic": imresize, "nearest": nearest}


@pytest.mark.parametrize("scale", [(2.0, 2.0), (3.0, 3.0), (2.5, 1.0)])
def test_rows_are_means_over_the_images(source, scale):
    table = evaluate_super_resolution(source, METHODS, scale)
    assert (table.dataset, table.scale, table.protocol) == ("three", scale, PROTOCOL)
    assert [row.method for row in table.rows] == list(METHODS)
    assert [image["image"] for image in table.per_image] == ["a", "b", "c"]
    border = (math.ceil(scale[0]), math.ceil(scale[1]))
    for row in table.rows:
        scores = []
        for image, scored in zip(source, table.per_image, strict=True):
            lr, hr = degrade(image, scale)
            sr = METHODS[row.method](lr, hr.shape[:2])
            scores.append((psnr_y(hr, sr, border), ssim_y(hr, sr, border)))
            assert tuple(scored[row.method].values()) == pytest.approx(scores[-1])
        assert (row.psnr_y, row.ssim_y) == pytest.approx(np.mean(scores, axis=0))
        assert row.images == 3
        assert row.seconds > 0
    assert table.rows[0].psnr_y > table.rows[1].psnr_y


def test_pictures_show_the_last_method(source, tmp_path):
    evaluate_super_resolution(source, METHODS, (2.0, 2.0), save_dir=tmp_path / "new")
    assert len(list((tmp_path / "new").iterdir())) == 6
    for name, image in zip(source.names, source, strict=True):
        lr, hr = degrade(image, (2.0, 2.0))
        written = read_image(tmp_path / "new" / f"{name}_x2.png")
        np.testing.assert_array_equal(written, nearest(lr, hr.shape[:2]))
        comparison = read_image(tmp_path / "new" / f"{name}_x2_comparison.png")
        # Bicubic, nearest and the original, each twice as large, with gaps between.
        assert comparison.shape[1] == 3 * 2 * hr.shape[1] + 2 * 4


def test_images_of_one_name_in_two_folders_have_different_pictures(draw, tmp_path):
    images = [draw(seed, (32, 32)) for seed in (0, 1)]
    source = ImageSource("two", ["a/x", "b/x"], lambda i: images[i].copy())
    evaluate_super_resolution(source, METHODS, (2.0, 2.0), save_dir=tmp_path)
    assert len(list(tmp_path.rglob("*_x2.png"))) == 2


def test_perfect_images_have_infinite_psnr_and_valid_json(source, tmp_path):
    table = evaluate_super_resolution(source, {"bicubic": imresize}, (1.0, 1.0))
    assert table.rows[0].psnr_y == math.inf
    save_json(tmp_path / "table.json", dataclasses.asdict(table))

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    saved = json.loads((tmp_path / "table.json").read_text(), parse_constant=refuse)
    assert saved["rows"][0]["psnr_y"] is None
    assert saved["rows"][0]["ssim_y"] == 1.0


def test_one_perfect_image_does_not_make_the_mean_infinite(draw):
    images = [draw(0, (40, 48)), np.full((40, 48, 3), 255, np.uint8)]
    source = ImageSource("two", ["a", "page"], lambda i: images[i].copy())
    table = evaluate_super_resolution(source, {"bicubic": imresize}, (2.0, 2.0))
    scores = [image["bicubic"]["psnr_y"] for image in table.per_image]
    assert scores[1] == math.inf
    assert table.rows[0].psnr_y == (scores[0] + 100) / 2


TABLE = Table("set5", (2.0, 2.0), PROTOCOL, [], [{"image": "baby"}])


def test_a_saved_table_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "new" / "folder" / "table.json"
    save_json(path, dataclasses.asdict(TABLE))
    before = path.read_text()
    assert json.loads(before) == {**dataclasses.asdict(TABLE), "scale": [2.0, 2.0]}

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(UserError, match="table.json: cannot be written .*disk is full"):
        save_json(path, {**dataclasses.asdict(TABLE), "dataset": "set14"})
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]  # No temporary file is left.


def test_a_table_for_a_terminal(source):
    table = evaluate_super_resolution(source, METHODS, (2.0, 2.0))
    lines = str(table).splitlines()
    assert lines[0] == "three, scale 2, 3 images"
    assert [line.split()[0] for line in lines[2:]] == list(METHODS)
    assert f"{table.rows[0].psnr_y:.2f}" in lines[2]
    assert "scale 2.5 x 1" in str(evaluate_super_resolution(source, METHODS, (2.5, 1.0)))


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("3", (3, 3)),
        ("2.5", (2.5, 2.5)),
        ("2.5x1", (2.5, 1)),
        ("1X4", (1, 4)),
        ("1e1", (10, 10)),
        ("0.5", (0.5, 0.5)),
    ],
)
def test_scales(text, scale):
    assert parse_scale(text) == scale


@pytest.mark.parametrize(
    "text", ["0", "-1", "nan", "inf", "-inf", "abc", "", "x", "2x", "2x0", "2x3x4", "2,3"]
)
def test_impossible_scales(text):
    with pytest.raises(UserError, match="scale '"):
        parse_scale(text)


# Self-ensemble.


def repeat(image, size):
    """Enlarge by an integer. This commutes with all symmetries of the square."""
    factors = [big // small for big, small in zip(size, image.shape[:2], strict=True)]
    return image.repeat(factors[0], axis=0).repeat(factors[1], axis=1)


@pytest.mark.parametrize("scale", [(2, 2), (2, 3)])
def test_the_ensemble_of_an_equivariant_method_is_the_method(draw, scale):
    image, size = draw(0, (6, 9)), (6 * scale[0], 9 * scale[1])
    np.testing.assert_array_equal(self_ensemble(repeat)(image, size), repeat(image, size))
    # MATLAB's method rounds after each axis, so that their order makes a small difference.
    difference = self_ensemble(imresize)(image, size).astype(int) - imresize(image, size)
    assert np.abs(difference).max() <= 2 and np.abs(difference).mean() < 0.3


def test_the_ensemble_calls_the_method_once_for_each_symmetry(draw):
    image, seen = draw(0, (6, 9)), {}

    def method(moved, size):
        assert size == (2 * moved.shape[0], 2 * moved.shape[1]) and moved.flags.c_contiguous
        seen[moved.tobytes(), moved.shape] = True
        return repeat(moved, size)

    self_ensemble(method)(image, (12, 18))
    symmetries = [
        x[::rows, ::cols]
        for x in (image, image.swapaxes(0, 1))
        for rows in (1, -1)
        for cols in (1, -1)
    ]
    assert set(seen) == {(x.tobytes(), x.shape) for x in symmetries}
    assert len(seen) == 8


@pytest.mark.parametrize("answered", range(8))
def test_the_ensemble_undoes_each_symmetry(draw, answered):
    """With all results but one black, the ensemble is an eighth of that one, turned back."""
    image, calls = draw(0, (6, 9)), []

    def method(moved, size):
        calls.append(size)
        return repeat(moved, size) * np.uint8(len(calls) == answered + 1)

    result = self_ensemble(method)(image, (12, 18))
    # Halves are rounded up; np.round would round them to the even neighbour.
    expected = np.floor(repeat(image, (12, 18)) / 8 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(result, expected)
    assert len(calls) == 8
