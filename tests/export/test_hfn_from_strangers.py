"""Damaged and hostile files are refused with one line; nothing crashes, hangs or fills memory."""

import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperfunc.errors import UserError
from hyperfunc.export import load_function, load_header, save_function

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def saved(make_function, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "f.hfn"
    save_function(path, make_function())
    return path.read_bytes()


def split(data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header of a file, and where its arrays start."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), 8 + length


def join(header: dict[str, Any] | bytes, arrays: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + arrays


def edit(*path: str, value: Any) -> Edit:
    """Set header[path[0]][path[1]]..., or delete it where the value is None."""

    def change(header: dict[str, Any]) -> None:
        place = header
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


def metadata(key: str, value: Any) -> Edit:
    return edit("__metadata__", key, value=value)


def target(**changes: Any) -> Edit:
    fields = {"type": "FourierField", "frequencies": 4, "channels": 3, "bandwidth": 6.0}
    return metadata("target", json.dumps({**fields, **changes}))


def mlp(**fields: Any) -> Edit:
    return metadata("target", json.dumps({"type": "CosineMLP", **fields}))


def windows(**changes: Any) -> Edit:
    fields = {"size": 2, "stride": 1, "overhang": 0.5, "profile": "tent"}
    return metadata("windows", json.dumps({**fields, **changes}))


def array(key: str, value: Any) -> Edit:
    return edit("theta.features", key, value=value)


BAD_METADATA = {
    "another format": (metadata("format", "pt"), "its format is 'pt'"),
    "no format": (metadata("format", None), "its format is None"),
    "no metadata": (edit("__metadata__", value=None), "its format is None"),
    "a later version": (metadata("version", "2"), "its version is '2'.*use the version that wrote"),
    "version as a number": (metadata("version", 1), "integer `1`, expected a string"),
    "no target": (metadata("target", None), "target is missing"),
    "unknown target": (target(type="Siren"), "'Siren' is none of CosineMLP, FourierField"),
    "type of a type": (target(type=["FourierField"]), "is none of"),
    "NaN": (target(bandwidth=float("nan")), "target.bandwidth: nan is not between"),
    "infinite size": (metadata("size", "[1e999, 3]"), "size: inf is not an integer"),
    "infinite field": (target(bandwidth=float("inf")), "target.bandwidth: inf is not between"),
    "negative field": (target(frequencies=-4), "-4"),
    "zero field": (target(frequencies=0), "must be positive"),
    "huge field": (target(frequencies=10**12), "is not between -65536 and 65536"),
    "large field": (target(frequencies=65536), "'theta.kernel' is F32"),
    "fractional field": (target(frequencies=4.0), "4.0 is not an integer"),
    "boolean field": (target(channels=True), "True is not an integer"),
    "unknown field": (target(colour=1), "colour"),
    "control characters": (target(**{"\x1b[31m\n": 1}), r"\(\?\[31m\?\) @ target"),
    "other channels": (target(channels=4), "'theta.kernel'"),
    "many layers": (mlp(hidden=[1] * 65), "a list of 65 items"),
    "wide layers": (mlp(hidden=[65536] * 64), "'theta.layer_0.bias' is missing"),
    "windows of a list": (metadata("windows", "[]"), "windows: .. is no mapping"),
    "gaps between windows": (windows(stride=3), "leave gaps"),
    "unknown profile": (windows(profile="hat"), "'hat'"),
    "negative size": (metadata("size", "[-9, 11]"), "size: -9 is not an integer"),
    "huge size": (metadata("size", "[9999999999, 11]"), "size: 9999999999 is not an integer"),
    "another size": (metadata("size", "[11, 9]"), r"\[any, 11, 9, any\]"),
    "digits": (metadata("size", "[" + "9" * 5000 + ", 11]"), "size is not JSON"),
    "one side": (metadata("size", "[9]"), "is not .height, width."),
    "no JSON": (metadata("size", "{"), "size is not JSON"),
    "unknown base": (metadata("base", "lanczos"), "base: 'lanczos' is none of none, bicubic"),
    "unexpected base": (metadata("base", "none"), "'base' is not expected"),
    "unknown quantization": (metadata("quantization", "int3"), "'int3' is none of"),
    "deep metadata": (metadata("about", "[" * 5000), "nested too deeply"),
    "notes that are no text": (metadata("about", '{"a": 1}'), "must be a JSON object of texts"),
}
BAD_ARRAYS = {
    "unknown type": (array("dtype", "F128"), "`F128`"),
    "type of a list": (array("dtype", ["I8"]), "not a function file, or damaged"),
    "another type": (array("dtype", "U8"), "'theta.features' is U8.*must be F32 or F16 or I8"),
    "a type that NumPy lacks": (array("dtype", "F8_E4M3"), "'theta.features' is F8_E4M3"),
    "wide type": (array("dtype", "F32"), "not a function file, or damaged"),
    "negative shape": (array("shape", [1, -9, -11, 6]), "integer `-9`"),
    "zero shape": (array("shape", [1, 9, 11, 0]), "not a function file, or damaged"),
    "overflowing shape": (array("shape", [2**40, 2**40, 2**40, 6]), "overflow"),
    "NaN shape": (array("shape", [1, 9, 11, float("nan")]), "not a function file, or damaged"),
    "shape of text": (array("shape", ["1", 9, 11, 6]), 'string "1"'),
    "another shape": (array("shape", [1, 11, 9, 6]), "it must be"),
    "long shape": (array("shape", [1] * 100 + [594]), "it must be"),
    "reversed offsets": (array("data_offsets", [600, 6]), "invalid offset"),
    "negative offsets": (array("data_offsets", [-594, 0]), "integer `-594`"),
    "offsets beyond": (array("data_offsets", [10**6, 10**6 + 594]), "invalid offset"),
    "overlap": (array("data_offsets", [0, 594]), "invalid offset"),
    "three offsets": (array("data_offsets", [0, 1, 2]), "not a function file, or damaged"),
    "no offsets": (array("data_offsets", None), "missing field `data_offsets`"),
    "an entry that is a number": (edit("theta.features", value=7), "integer `7`"),
}
BAD_HEADERS = {**BAD_METADATA, **BAD_ARRAYS}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_bad_header_is_refused_with_its_reason(case: str, saved: bytes, tmp_path: Path) -> None:
    change, reason = BAD_HEADERS[case]
    header, start = split(saved)
    change(header)
    (tmp_path / "f.hfn").write_bytes(join(header, saved[start:]))
    with pytest.raises(UserError, match=f"f.hfn: .*{reason}") as error:
        load_function(tmp_path / "f.hfn")
    message = str(error.value)
    assert len(message) < 500 and message.isprintable()


def edit_arrays(saved: bytes, path: Path, **changes: np.ndarray | None) -> None:
    """Write a file with other arrays, or with one array less where the value is None."""
    path.write_bytes(saved)
    with safetensors.safe_open(path, "np") as file:
        about = file.metadata()
    arrays = {**safetensors.numpy.load_file(path), **changes}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    safetensors.numpy.save_file(arrays, path, about)


@pytest.mark.parametrize(
    "name", ["theta.features", "theta.kernel", "scales.theta.features", "shared.log_kappa", "base"]
)
def test_a_missing_array_is_named(name: str, saved: bytes, tmp_path: Path) -> None:
    edit_arrays(saved, tmp_path / "f.hfn", **{name: None})
    missing = "theta.coefficients" if name == "theta.features" else name
    with pytest.raises(UserError, match=f"'{missing}' is missing"):
        load_function(tmp_path / "f.hfn")


def test_an_unknown_array_is_named(saved: bytes, tmp_path: Path) -> None:
    edit_arrays(saved, tmp_path / "f.hfn", other=np.zeros(3, np.float32))
    with pytest.raises(UserError, match="'other' is not expected"):
        load_function(tmp_path / "f.hfn")


@pytest.mark.parametrize("shape", [(1, 9, 11, 0), (0, 9, 11, 6)])
def test_an_empty_array_is_refused(shape: tuple[int, ...], saved: bytes, tmp_path: Path) -> None:
    """Else a few bytes could ask for any number of windows."""
    features, kernel = np.zeros(shape, np.float32), np.zeros((shape[-1], 9, 3), np.float32)
    changes = {"theta.features": features, "theta.kernel": kernel, "scales.theta.features": None}
    edit_arrays(saved, tmp_path / "f.hfn", **changes)
    with pytest.raises(UserError, match=r"must be F32 or F16 or I8 \[any, 9, 11, any\]"):
        load_function(tmp_path / "f.hfn")


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_values_that_are_not_finite_are_refused(value: float, saved: bytes, tmp_path: Path) -> None:
    scales = np.full((1, 1, 1, 6), value, np.float32)
    edit_arrays(saved, tmp_path / "f.hfn", **{"scales.theta.features": scales})
    with pytest.raises(UserError, match="not finite|overflows"):
        load_function(tmp_path / "f.hfn")


NO_HEADERS = {
    "empty": b"",
    "seven bytes": b"\x00" * 7,
    "a header of no bytes": b"\x00" * 8,
    "a PNG": b"\x89PNG\r\n\x1a\n" + b"\x00" * 90,
    "the longest header": b"\xff" * 64,
    "a longer header than the file": struct.pack("<Q", 1 << 20) + b"{}",
    "a longer header than the limit": join(b" " * (1 << 20) + b"{}", b""),
    "no UTF-8": join(b"\xff\xfe", b""),
    "a list": join(b"[]", b""),
    "deep lists": join(b"[" * 100_000, b""),
    "deep objects": join(b'{"a":' * 100_000, b""),
    "an endless string": join(b'{"a' + rb"\"" * 500_000, b""),
}


@pytest.mark.parametrize("case", NO_HEADERS)
@pytest.mark.parametrize("read", [load_function, load_header])
def test_what_has_no_header_is_refused(case: str, read: Callable, tmp_path: Path) -> None:
    (tmp_path / "f.hfn").write_bytes(NO_HEADERS[case])
    with pytest.raises(UserError, match="f.hfn: not a function file"):
        read(tmp_path / "f.hfn")


def test_every_truncation_is_refused(saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "f.hfn"
    for length in [*range(0, len(saved), 37), len(saved) - 1]:
        path.write_bytes(saved[:length])
        with pytest.raises(UserError, match="truncated"):
            load_function(path)
    path.write_bytes(saved + b"\x00")
    with pytest.raises(UserError, match="damaged"):
        load_function(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_function(tmp_path / "f.hfn")
    with pytest.raises(UserError, match="not a file"):
        load_function(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a file"):
        load_function(tmp_path / "pipe")


def read_or_refuse(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    tracemalloc.start()
    try:
        load_function(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20e6


fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(fuzz, max_examples=150)
@given(st.data())
def test_a_file_with_other_bytes_is_read_or_refused(
    saved: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    header_end = split(saved)[1]
    place = st.one_of(st.integers(0, header_end - 1), st.integers(0, len(saved) - 1))
    changes = st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=6)
    damaged = bytearray(saved)
    for position, byte in data.draw(changes):
        damaged[position] = byte
    read_or_refuse(tmp_path / "f.hfn", bytes(damaged))


@pytest.mark.slow
@settings(fuzz, max_examples=100)
@given(st.data())
def test_a_file_with_another_header_is_read_or_refused(
    saved: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    header, start = split(saved)
    name = data.draw(st.sampled_from(sorted(header)))
    key = data.draw(st.sampled_from(sorted(header[name])))
    number = st.one_of(st.integers(-(2**70), 2**70), st.integers(-2, 20), st.floats())
    value = st.recursive(
        st.one_of(number, st.booleans(), st.none(), st.text(max_size=8)),
        lambda x: st.one_of(
            st.lists(x, max_size=4), st.dictionaries(st.text(max_size=4), x, max_size=3)
        ),
        max_leaves=6,
    )
    if name == "__metadata__":  # JSON in text, mostly.
        value = st.one_of(value.map(json.dumps), value)
    header[name][key] = data.draw(value)
    read_or_refuse(tmp_path / "f.hfn", join(header, saved[start:]))
