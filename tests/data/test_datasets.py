"""Image files and datasets. The tests draw the images themselves."""

import contextlib
import functools
import http.server
import io
import pickle
import subprocess
import sys
import threading
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hyperfunc.data import ImageSource, open_dataset
from hyperfunc.data.datasets import DATASETS
from hyperfunc.data.faces import make_face_transform
from hyperfunc.errors import UserError
from hyperfunc.images import read_image, to_float, to_uint8, write_image
from hyperfunc.pixels import imresize


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch):
    monkeypatch.delenv("HYPERFUNC_DATA_DIR", raising=False)


def draw(height=20, width=24, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(image, suffix="png", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format=suffix, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Three good images in nested folders, beside files that are no images."""
    root = tmp_path / "images"
    for i, path in enumerate(("b.png", "a/c.bmp", "a/d/e.PNG")):
        write_image(root / path, draw(seed=i))
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_text("no image")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX/b.png").write_text("no image")
    return root


# Image files


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm"])
def test_an_image_survives_a_lossless_file(tmp_path, suffix):
    path = tmp_path / f"new/folder/image{suffix}"
    write_image(path, draw())
    np.testing.assert_array_equal(read_image(path), draw())
    assert list(path.parent.iterdir()) == [path]


def test_grey_alpha_palette_and_sixteen_bits_become_rgb(tmp_path):
    rgb, grey = draw(), draw()[..., 0]
    write_image(tmp_path / "grey.png", grey)
    Image.fromarray(np.dstack([rgb, 255 - grey])).save(tmp_path / "rgba.png")
    few = (rgb // 128) * 255
    palette = Image.fromarray(few).quantize(8)
    palette.save(tmp_path / "palette.png")
    palette.save(tmp_path / "transparent.png", transparency=bytes([0, 255] * 4))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")

    repeated = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), repeated)
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), few)
    np.testing.assert_array_equal(read_image(tmp_path / "transparent.png"), few)
    np.testing.assert_array_equal(read_image(tmp_path / "sixteen.png"), repeated)


def test_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    file = io.BytesIO(encode(draw(), exif=exif))
    np.testing.assert_array_equal(read_image(file), np.rot90(draw(), -1))


def damaged_files():
    png = encode(draw())
    return {
        "text.png": b"this is text, whatever its name says",
        "empty.png": b"",
        "truncated.png": png[: len(png) // 2],
        "flipped.png": png[:60] + bytes(200) + png[260:],
        "truncated.jpg": encode(draw(64, 64), "jpeg")[:900],
    }


@pytest.mark.parametrize(("name", "data"), damaged_files().items())
def test_a_damaged_file_is_named(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=name) as caught:
        read_image(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="from memory"):
        read_image(io.BytesIO(data), name="from memory")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(UserError, match="cannot be read"):
        read_image(tmp_path)


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    write_image(path, draw())

    def fail(image, file, saver, **options):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hyperfunc.images.write.save_target", fail)
    with pytest.raises(UserError, match="No space left"):
        write_image(path, draw(seed=1))
    np.testing.assert_array_equal(read_image(path), draw())
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_suffix_is_refused(tmp_path):
    for name in ("image.docx", "image"):
        with pytest.raises(UserError, match=name):
            write_image(tmp_path / name, draw())
    assert list(tmp_path.iterdir()) == []


def test_floats_round_half_up_and_clip():
    values = np.array([-0.1, 0.0, 0.5 / 255, 0.49 / 255, 1.5 / 255, 1.0, 1.2])
    assert to_uint8(values).tolist() == [0, 0, 1, 0, 2, 255, 255]
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(to_float(every)), every)
    assert to_float(every).dtype == np.float32


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


BAD = {**damaged_files(), "tiny.png": encode(draw(15, 40))}


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


# Data prepared by TFDS


def test_importing_the_room_imports_no_tfds():
    heavy = ("tensorflow", "tensorflow_datasets")
    code = f"import sys, hyperfunc.data\nprint([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    assert out.stdout.strip() == b"[]"


@pytest.fixture(scope="module")
def builders():
    tfds = pytest.importorskip("tensorflow_datasets")
    tfds.disable_progress_bar()
    from hyperfunc.data import builders

    return builders


@pytest.mark.parametrize("name", ["set5", "train"])
def test_prepared_data_hold_the_images_of_their_folder(builders, folder, tmp_path, name):
    for i in (3, 4):
        write_image(folder / f"more/{i}.png", draw(30 + i, 20, seed=i))
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    path = builders.prepare(name, data_dir, folder=folder)
    assert path == data_dir / name / "1.0.0"

    want, got = open_dataset(folder), open_dataset(name, data_dir=data_dir)
    assert got.names == want.names
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(open_dataset(data_dir / name)) == 5
    assert len(pickle.loads(pickle.dumps(got))) == 5
    assert "tensorflow" not in sys.modules


def test_a_wrong_number_of_images_is_an_error(builders, folder, tmp_path):
    with pytest.raises(UserError, match="holds 3 images, set5 needs 5"):
        builders.prepare("set5", tmp_path, folder=folder)
    with pytest.raises(UserError, match="'set6'"):
        builders.prepare("set6", tmp_path)
    with pytest.raises(UserError, match="nowhere: holds no images"):
        builders.prepare("set5", tmp_path, folder=tmp_path / "nowhere")


def test_damaged_prepared_data_is_named(builders, folder, tmp_path):
    path = builders.prepare("train", tmp_path, folder=folder)
    (path / "features.json").unlink()
    with pytest.raises(UserError, match=r"train/1\.0\.0: cannot be read"):
        open_dataset("train", data_dir=tmp_path)


def test_data_of_tfds_own_builders_are_read(builders, tmp_path):
    import tensorflow_datasets as tfds

    class Stored(builders._ImageBuilder, skip_registration=True):
        """A builder with CelebA's image feature and without names."""

        def _info(self):
            image = tfds.features.Image(shape=(218, 178, 3), encoding_format="jpeg")
            features = tfds.features.FeaturesDict({"image": image})
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(2), "validation": self._generate_examples(1)}

        def _generate_examples(self, count):
            for i in range(count):
                yield i, {"image": io.BytesIO(encode(draw(218, 178, i), "jpeg"))}

    Stored(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    (tmp_path / "stored").rename(tmp_path / "celeb_a")
    source = open_dataset("celeb_a", data_dir=tmp_path, split="train", size=128)
    assert source.names == ("0", "1")
    stored = read_image(io.BytesIO(encode(draw(218, 178, 1), "jpeg")))
    np.testing.assert_array_equal(source[1], stored[45:173, 25:153])
    assert len(open_dataset("celeb_a", data_dir=tmp_path, split="val")) == 1
    assert (
        len(open_dataset("celeb_a", data_dir=tmp_path, split="test")) == 1
    )  # There is no "test": it takes "validation".

    (tmp_path / "celeb_a").rename(tmp_path / "div2k")
    assert open_dataset("div2k", data_dir=tmp_path, split="val")[0].shape == (218, 178, 3)


@contextlib.contextmanager
def serve(folder):
    """A web server for one folder, on this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_test_set_is_downloaded_and_prepared(builders, tmp_path, monkeypatch):
    (tmp_path / "web").mkdir()
    (tmp_path / "data").mkdir()
    with zipfile.ZipFile(tmp_path / "web/archive.zip", "w") as file:
        for i in range(5):
            file.writestr(f"denoising_datasets-58234876/CSet5/{i}.png", encode(draw(seed=i)))
            file.writestr(f"denoising_datasets-58234876/CSet14/{i}.png", encode(draw(seed=9)))
    with serve(tmp_path / "web") as url:
        monkeypatch.setattr(builders.Set5, "URL", f"{url}/archive.zip")
        source = open_dataset("set5", data_dir=tmp_path / "data")
    assert source.names == ("0", "1", "2", "3", "4")
    np.testing.assert_array_equal(source[3], draw(seed=3))
    again = open_dataset("set5", data_dir=tmp_path / "data")  # The server is gone.
    np.testing.assert_array_equal(again[3], draw(seed=3))


def test_a_missing_network_is_an_error_at_once(builders, tmp_path, monkeypatch):
    monkeypatch.setattr(builders.B100, "URL", "http://127.0.0.1:9/archive.zip")
    with pytest.raises(UserError, match="cannot be reached .* give --data_dir"):
        open_dataset("b100", data_dir=tmp_path)


def test_good_data_cause_no_warning(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(open_dataset(folder, strict=False)) == 3
