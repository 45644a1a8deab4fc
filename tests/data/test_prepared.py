"""Data prepared by TFDS: downloaded from a local server, and read."""

import contextlib
import functools
import http.server
import io
import pickle
import sys
import threading
import zipfile

import numpy as np
import pytest

from hyperfunc.data import open_dataset
from hyperfunc.errors import UserError
from hyperfunc.images import read_image
from tests.drawing import draw, encode


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch):
    monkeypatch.delenv("HYPERFUNC_DATA_DIR", raising=False)


@pytest.fixture(scope="module")
def builders():
    tfds = pytest.importorskip("tensorflow_datasets")
    tfds.disable_progress_bar()
    from hyperfunc.data import builders

    return builders


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


@pytest.fixture
def download(builders, tmp_path, monkeypatch):
    """A function that opens set5 from an archive with this many images, and its data folder."""
    (tmp_path / "web").mkdir()
    (tmp_path / "data").mkdir()

    def open_set5(count=5):
        with zipfile.ZipFile(tmp_path / "web/archive.zip", "w") as file:
            for i in range(count):
                file.writestr(f"denoising_datasets-58234876/CSet5/{i}.png", encode(draw(seed=i)))
                file.writestr(f"denoising_datasets-58234876/CSet14/{i}.png", encode(draw(seed=9)))
        with serve(tmp_path / "web") as url:
            monkeypatch.setattr(builders.Set5, "URL", f"{url}/archive.zip")
            return open_dataset("set5", data_dir=tmp_path / "data")

    return open_set5, tmp_path / "data"


def test_a_test_set_is_downloaded_and_prepared(download):
    open_set5, data_dir = download
    source = open_set5()
    assert source.names == ("0", "1", "2", "3", "4")
    np.testing.assert_array_equal(source[3], draw(seed=3))
    again = open_dataset("set5", data_dir=data_dir)  # The server is gone.
    np.testing.assert_array_equal(again[3], draw(seed=3))
    assert len(open_dataset(data_dir / "set5")) == 5
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again))[3], draw(seed=3))
    assert "tensorflow" not in sys.modules

    (data_dir / "set5/1.0.0/features.json").unlink()
    with pytest.raises(UserError, match=r"set5/1\.0\.0: cannot be read"):
        open_dataset("set5", data_dir=data_dir)


def test_a_wrong_number_of_images_is_an_error(download):
    open_set5, _ = download
    with pytest.raises(UserError, match="holds 3 images in CSet5, set5 needs 5"):
        open_set5(3)


def test_a_missing_network_is_an_error_at_once(builders, tmp_path, monkeypatch):
    monkeypatch.setattr(builders.B100, "URL", "http://127.0.0.1:9/archive.zip")
    with pytest.raises(UserError, match="cannot be reached .* give --data_dir"):
        open_dataset("b100", data_dir=tmp_path)
