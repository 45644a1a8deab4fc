"""Datasets by name and by path, and sources of images. The tests draw the images themselves."""

import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hyperfunc.data import ImageSource, open_dataset
from hyperfunc.data.datasets import DATASETS, make_face_transform
from hyperfunc.errors import UserError
from hyperfunc.images import write_image
from hyperfunc.pixels import imresize
from tests.drawing import draw, encode


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch):
    monkeypatch.delenv("HYPERFUNC_DATA_DIR", raising=False)


# Folders and archives


def test_a_folder_is_read_in_order_at_any_depth(folder):
    source = open_dataset(folder)
    assert source.names == ("a/c", "a/d/e", "b")
    for image, seed in zip(source, (1, 2, 0), strict=True):
        np.testing.assert_array_equal(image, draw(seed=seed))
    assert not source[0].flags.writeable
    with pytest.raises(IndexError):
        source[3]


def test_a_zip_is_read_like_its_folder(folder, tmp_path):
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*"):
            file.write(path, path.relative_to(folder))
    source = open_dataset(archive)
    assert source.names == open_dataset(folder).names
    np.testing.assert_array_equal(source[0], draw(seed=1))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[0], draw(seed=1))


def test_members_with_paths_outside_of_the_zip_are_ignored(tmp_path):
    archive, picture = tmp_path / "images.zip", tmp_path / "a.png"
    write_image(picture, draw())
    with zipfile.ZipFile(archive, "w") as file:
        for member in ("good.png", f"{tmp_path}/absolute.png", "../above.png"):
            file.writestr(zipfile.ZipInfo(member), picture.read_bytes())
    assert open_dataset(archive).names == ("good",)


def test_names_keep_their_suffix_where_they_would_be_equal(tmp_path):
    write_image(tmp_path / "a.png", draw())
    write_image(tmp_path / "a.bmp", draw())
    assert open_dataset(tmp_path).names == ("a.bmp", "a.png")


PNG = encode(draw())
BAD = {
    "text.png": b"this is text, whatever its name says",
    "empty.png": b"",
    "truncated.png": PNG[: len(PNG) // 2],
    "flipped.png": PNG[:60] + bytes(200) + PNG[260:],
    "truncated.jpg": encode(draw(64, 64), "jpeg")[:900],
    "tiny.png": encode(draw(15, 40)),
}


@pytest.mark.parametrize(("name", "data"), BAD.items())
def test_a_bad_image_is_an_error_if_strict_and_left_out_otherwise(folder, name, data, caplog):
    (folder / "a" / name).write_bytes(data)
    with pytest.raises(UserError, match=name.partition(".")[0]) as caught:
        open_dataset(folder)
    assert "\n" not in str(caught.value)
    source = open_dataset(folder, strict=False)
    (warning,) = [x.getMessage() for x in caplog.records if x.name == "hyperfunc.data.source"]
    assert warning.startswith("left out: ") and name.partition(".")[0] in warning
    assert source.names == ("a/c", "a/d/e", "b")
    for image, seed in zip(source, (1, 2, 0), strict=True):
        np.testing.assert_array_equal(image, draw(seed=seed))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[2], draw(seed=0))


def test_a_folder_with_only_bad_images_is_an_error(tmp_path):
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(UserError, match="none of its 1 files"):
        open_dataset(tmp_path, strict=False)


def test_a_folder_without_images_and_a_file_that_is_no_zip_are_errors(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UserError, match=r"holds no images; .*\.avif"):
        open_dataset(tmp_path)
    with pytest.raises(UserError, match=r"notes\.txt: cannot be read as a zip"):
        open_dataset(tmp_path / "notes.txt")


def test_the_cache_respects_its_limit():
    calls = []

    def read(i):
        calls.append(i)
        return draw(seed=i)

    source = ImageSource("drawn", ["a", "b", "c"], read, cache_bytes=2 * draw().nbytes)
    for _ in range(3):
        for i in range(3):
            np.testing.assert_array_equal(source[i], draw(seed=i))
    assert calls == [0, 1, 2, 2, 2]


def test_sizes_are_known_without_decoding_an_image_again():
    """The cache holds no image here."""
    calls = []

    def read(i):
        calls.append(i)
        return draw(20 + i, 30, seed=i)

    source = ImageSource("drawn", ["a", "b", "c"], read, cache_bytes=0)
    assert source.sizes() == [(20, 30), (21, 30), (22, 30)]
    assert sorted(calls) == [0, 1, 2]
    identity = source.verify(strict=True).identify()
    assert source.select([2, 0]).sizes() == [(22, 30), (20, 30)]
    assert sorted(calls) == [0, 0, 1, 1, 2, 2]  # verify() decodes each image once more.
    renamed = ImageSource("drawn", ["a", "b", "d"], read)
    assert identity != renamed.identify()


# Names


def test_the_sample_needs_no_data_folder(monkeypatch):
    monkeypatch.setenv("HYPERFUNC_DATA_DIR", "/no/such/folder")
    source = open_dataset("sample")
    assert source.names == ("astronaut", "cat", "coffee", "motorcycle", "rocket")
    for image in source:
        assert min(image.shape[:2]) >= 300
        assert (image[..., 0] != image[..., 2]).any()


@pytest.mark.parametrize("below", ["benchmarks/set5", "set5"])
def test_a_test_set_is_found_in_the_data_folder(tmp_path, monkeypatch, below):
    write_image(tmp_path / below / "baby.png", draw())
    assert open_dataset("set5", data_dir=tmp_path).names == ("baby",)
    monkeypatch.setenv("HYPERFUNC_DATA_DIR", str(tmp_path))
    assert open_dataset("set5", split="train").names == ("baby",)


def test_train_is_every_image_below_its_folder(folder, tmp_path):
    folder.rename(tmp_path / "train")
    assert len(open_dataset("train", data_dir=tmp_path, split="train", strict=False)) == 3


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(UserError, match=r"did you mean urban100\?") as caught:
        open_dataset("urbn100")
    assert all(name in str(caught.value) for name in DATASETS)
    with pytest.raises(UserError, match="no such dataset; give one of"):
        open_dataset("/nowhere/at/all")


@pytest.mark.parametrize("name", ["train", "faces"])
def test_missing_data_names_the_flag(tmp_path, name):
    with pytest.raises(UserError, match="--data_dir or HYPERFUNC_DATA_DIR"):
        open_dataset(name)
    with pytest.raises(UserError, match=f"{name}.* not found in {tmp_path}"):
        open_dataset(name, data_dir=tmp_path)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        open_dataset(name, data_dir=tmp_path / "nowhere")


def test_a_split_or_size_that_does_not_exist_is_refused(folder):
    with pytest.raises(ValueError, match="'evaluation'"):
        open_dataset(folder, split="evaluation")
    with pytest.raises(ValueError, match="32"):
        make_face_transform(32)


# Faces


@pytest.fixture
def faces(tmp_path):
    (tmp_path / "faces").mkdir()
    for split, seed in (("train", 0), ("val", 1), ("test", 2)):
        with zipfile.ZipFile(tmp_path / f"faces/{split}.zip", "w") as file:
            file.writestr("000001.png", encode(draw(154, 146, seed)))
    with zipfile.ZipFile(tmp_path / "faces/train64_more.zip", "w") as file:
        file.writestr("000002.png", encode(draw(64, 64)))
    return tmp_path


def test_faces_are_the_centre_crop(faces):
    crop = draw(154, 146, 2)[13:141, 9:137]
    np.testing.assert_array_equal(open_dataset("faces", data_dir=faces, size=128)[0], crop)
    small = imresize(crop, (64, 64))
    np.testing.assert_array_equal(open_dataset("faces", data_dir=faces)[0], small)
    whole = np.zeros((218, 178, 3), np.uint8)  # The file is a window of the original.
    whole[32 : 32 + 154, 16 : 16 + 146] = draw(154, 146, 2)
    np.testing.assert_array_equal(make_face_transform(128)(whole), whole[45:173, 25:153])
    np.testing.assert_array_equal(make_face_transform(128)(whole), crop)


def test_the_additional_faces_serve_training_at_64_pixels_only(faces):
    source = open_dataset("faces", data_dir=faces, split="train")
    assert source.names == ("000001", "000002")
    np.testing.assert_array_equal(source[1], draw(64, 64))
    assert len(open_dataset("faces", data_dir=faces, split="train", size=128)) == 1
    assert len(open_dataset("faces", data_dir=faces, split="validation")) == 1


def test_an_image_that_is_too_small_for_a_face_is_named(faces, caplog):
    with zipfile.ZipFile(faces / "faces/train.zip", "a") as file:
        file.writestr("small.png", encode(draw(100, 146)))
    with pytest.raises(UserError, match=r"small\.png: an image of 100 x 146 pixels is too small"):
        open_dataset("faces", data_dir=faces, split="train")
    source = open_dataset("faces", data_dir=faces, split="train", strict=False)
    assert source.names == ("000001", "000002") and "left out" in caplog.text


def test_importing_the_room_imports_no_tfds():
    heavy = ("tensorflow", "tensorflow_datasets")
    code = f"import sys, hyperfunc.data\nprint([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    assert out.stdout.strip() == b"[]"


def test_good_data_cause_no_warning(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(open_dataset(folder, strict=False)) == 3
