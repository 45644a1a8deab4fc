"""Files that earlier versions of hyperfunc wrote stay readable."""

from pathlib import Path

import numpy as np
import pytest

import hyperfunc
from hyperfunc.export import load_header, numpy_decoder

DATA = Path(__file__).parent / "data"
FILES = {"sr_int8": "FourierField", "faces_local_float16": "CosineMLP"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_version_1_renders_as_it_did(name: str) -> None:
    image = hyperfunc.load(DATA / f"{name}.hfn").render(9, 11)
    np.testing.assert_allclose(image, np.load(DATA / f"{name}.npy"), atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_the_header_of_a_file_of_version_1_is_read(name: str) -> None:
    header = load_header(DATA / f"{name}.hfn")
    assert (header["version"], header["size"]) == (1, (5, 7))
    assert header["target"]["type"] == FILES[name]
    assert name == f"{header['about']['model']}_{header['quantization']}"


def test_the_numpy_decoder_reads_a_file_of_version_1() -> None:
    image = numpy_decoder.render(DATA / "sr_int8.hfn", 9, 11)
    expected = np.load(DATA / "sr_int8.npy")
    np.testing.assert_allclose(np.clip(image, 0, 1), np.clip(expected, 0, 1), atol=1e-4)
