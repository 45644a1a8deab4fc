import functools
import json
import struct
import tracemalloc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperfunc.errors import UserError
from hyperfunc.export import load_function, load_header, save_function
from hyperfunc.export.hfn import quantize_int8
from hyperfunc.function import FunctionalImage, encode, render
from hyperfunc.networks import CosineMLP, FactoredTheta, FourierField, Target
from hyperfunc.pixels import PER_PIXEL, WHOLE_IMAGE, WindowLayout

SIZE = (9, 11)


@functools.cache  # Drawing parameters compiles.
def make_function(
    target: Target = FourierField(frequencies=4),  # noqa: B008
    layout: WindowLayout = PER_PIXEL,
    *,
    size: tuple[int, int] = SIZE,
    features: int = 6,
    batch: int = 1,
    has_base: bool = True,
) -> FunctionalImage:
    """A random functional image; factored where its target network is linear and features > 0."""
    rng = np.random.default_rng(0)
    mean, shared = target.init(jax.random.key(0))
    grid = layout.grid(size)

    def draw(like: jax.Array) -> jax.Array:
        noise = rng.normal(scale=0.1, size=(batch, *grid, *like.shape))
        return jnp.asarray(np.asarray(like)[None, None, None] + noise, jnp.float32)

    if isinstance(target, FourierField) and features:
        theta = FactoredTheta(
            jnp.asarray(rng.normal(size=(batch, *grid, features)), jnp.float32),
            jnp.asarray(
                rng.normal(scale=0.03, size=(features, target.basis_size, target.channels)),
                jnp.float32,
            ),
        )
    else:
        theta = jax.tree.map(draw, mean)
    pixels = rng.integers(0, 256, (batch, *size, target.channels)).astype(np.float32) / 255
    return FunctionalImage(
        theta=theta,
        shared=shared,
        base=jnp.asarray(pixels) if has_base else None,
        exists=(jnp.ones(grid[0]), jnp.ones(grid[1])),
        target=target,
        layout=layout,
        size=size,
    )


FUNCTIONS = {
    "factored": lambda: make_function(),
    "batch": lambda: make_function(batch=2),
    "wide": lambda: make_function(size=(3, 40)),
    "coefficients": lambda: make_function(features=0),
    "no base": lambda: make_function(has_base=False),
    "one pixel": lambda: make_function(size=(1, 1)),
    "mlp per pixel": lambda: make_function(CosineMLP(hidden=(5,), output="linear")),
    "paper": lambda: make_function(
        CosineMLP(hidden=(4, 6, 8, 6), footprint=True),
        WindowLayout(size=4, stride=2, overhang=0.0),
        size=(10, 12),
        has_base=False,
    ),
    "face": lambda: make_function(
        CosineMLP(hidden=(4, 6, 8, 6), normalization="batch"), WHOLE_IMAGE, has_base=False
    ),
    "some emitted": lambda: make_function(CosineMLP(hidden=(4, 5), emitted=(0, 2))),
}


@pytest.fixture(params=FUNCTIONS, ids=list(FUNCTIONS))
def function(request: pytest.FixtureRequest) -> FunctionalImage:
    return FUNCTIONS[request.param]()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "f.hfn"
    save_function(path, make_function())
    return path.read_bytes()


def leaves(function: FunctionalImage) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(function)]


class TestRoundTrip:
    def test_without_quantization_nothing_changes(
        self, function: FunctionalImage, tmp_path: Path
    ) -> None:
        save_function(tmp_path / "f.hfn", function, quantize=None)
        loaded = load_function(tmp_path / "f.hfn")
        assert jax.tree.structure(loaded) == jax.tree.structure(function)  # Static fields as well.
        for before, after in zip(leaves(function), leaves(loaded), strict=True):
            np.testing.assert_array_equal(before, after)

    @pytest.mark.parametrize(("quantize", "parts"), [("float16", 2**-11), ("int8", 1 / 254)])
    def test_each_value_is_off_by_half_a_level_at_most(
        self, function: FunctionalImage, tmp_path: Path, quantize, parts: float
    ) -> None:
        save_function(tmp_path / "f.hfn", function, quantize=quantize)
        loaded = load_function(tmp_path / "f.hfn")
        for before, after in zip(leaves(function), leaves(loaded), strict=True):
            assert np.abs(before - after).max() <= 1.01 * parts * np.abs(before).max()

    def test_what_is_shared_and_the_base_stay_exact(self, tmp_path: Path) -> None:
        function = make_function()
        save_function(tmp_path / "f.hfn", function)
        loaded = load_function(tmp_path / "f.hfn")
        np.testing.assert_array_equal(function.base, loaded.base)
        np.testing.assert_array_equal(function.theta.kernel, loaded.theta.kernel)
        for name, leaf in function.shared.items():
            np.testing.assert_array_equal(leaf, loaded.shared[name])

    @pytest.mark.parametrize(
        ("top", "dtype"), [(255, "U8"), (65535, "U16"), (254.5, "F32")], ids=str
    )
    def test_the_base_takes_no_more_than_it_needs(
        self, tmp_path: Path, top: float, dtype: str
    ) -> None:
        levels = np.random.default_rng(1).integers(0, int(top), (1, *SIZE, 3))
        base = jnp.asarray(levels.astype(np.float32) / np.float32(top))
        save_function(tmp_path / "f.hfn", make_function().replace(base=base))
        assert load_header(tmp_path / "f.hfn")["tensors"]["base"]["dtype"] == dtype
        np.testing.assert_array_equal(load_function(tmp_path / "f.hfn").base, base)

    def test_padding_is_left_out(self, tiny_experiment, tmp_path: Path) -> None:
        model = tiny_experiment.model
        images = jnp.asarray(np.random.default_rng(0).random((1, 8, 9, 3)), jnp.float32)
        variables = model.init(jax.random.key(0), images)
        padded = jnp.pad(images, ((0, 0), (2, 3), (1, 0), (0, 0)))
        rows, cols = jnp.pad(jnp.ones(8), (2, 3)), jnp.pad(jnp.ones(9), (1, 0))
        function, _ = encode(model, variables, padded, exists=(rows, cols))
        save_function(tmp_path / "f.hfn", function, quantize=None)
        loaded = load_function(tmp_path / "f.hfn")
        assert loaded.size == (8, 9)
        whole, _ = encode(model, variables, images)
        np.testing.assert_allclose(render(loaded, (16, 18)), render(whole, (16, 18)), atol=1e-5)

    def test_int8_uses_the_whole_range_of_each_feature(self) -> None:
        values = np.random.default_rng(0).normal(size=(1, 20, 20, 3)) * [1e-3, 1.0, 1e3]
        levels, scale = quantize_int8(values.astype(np.float32))
        assert scale.shape == (1, 1, 1, 3)
        np.testing.assert_array_equal(np.abs(levels).max(axis=(0, 1, 2)), 127)
        assert np.abs(levels * scale - values).max(axis=(0, 1, 2)) == pytest.approx(
            scale[0, 0, 0] / 2, rel=0.05
        )

    def test_int8_scales_each_row_of_windows(self) -> None:
        values = np.random.default_rng(0).normal(size=(1, 5, 40, 3)).astype(np.float32)
        values[0, 2] *= 1e4
        levels, scale = quantize_int8(values)
        assert scale.shape == (1, 5, 1, 3)
        assert np.abs(levels * scale - values)[:, [0, 1, 3, 4]].max() < 0.02

    def test_the_header_tells_what_is_inside(self, tmp_path: Path) -> None:
        save_function(tmp_path / "f.hfn", make_function(), about={"model": "sr", "step": "9000"})
        header = load_header(tmp_path / "f.hfn")
        assert header["about"] == {"model": "sr", "step": "9000"}
        assert header["size"] == SIZE
        assert header["target"]["type"] == "FourierField"
        assert header["quantization"] == "int8"
        assert header["tensors"]["theta.features"] == {"dtype": "I8", "shape": [1, *SIZE, 6]}
        assert header["bytes"] == (tmp_path / "f.hfn").stat().st_size


class TestFormat:
    def test_safetensors_opens_it(self, function: FunctionalImage, tmp_path: Path) -> None:
        save_function(tmp_path / "f.hfn", function)
        header = load_header(tmp_path / "f.hfn")
        arrays = safetensors.numpy.load_file(tmp_path / "f.hfn")
        assert {name: list(array.shape) for name, array in arrays.items()} == {
            name: entry["shape"] for name, entry in header["tensors"].items()
        }
        with safetensors.safe_open(tmp_path / "f.hfn", "np") as file:
            assert file.metadata()["format"] == "hyperfunc"

    def test_what_safetensors_writes_is_read(
        self, function: FunctionalImage, tmp_path: Path
    ) -> None:
        save_function(tmp_path / "f.hfn", function)
        with safetensors.safe_open(tmp_path / "f.hfn", "np") as file:
            metadata = file.metadata()
        arrays = safetensors.numpy.load_file(tmp_path / "f.hfn")
        safetensors.numpy.save_file(arrays, tmp_path / "g.hfn", metadata)
        for ours, theirs in zip(
            leaves(load_function(tmp_path / "f.hfn")),
            leaves(load_function(tmp_path / "g.hfn")),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)

    def test_arrays_are_aligned(self, saved: bytes) -> None:
        header, start = split(saved)
        assert start % 8 == 0
        sizes = {"F32": 4, "F16": 2, "I8": 1, "U8": 1}
        for name, entry in header.items():
            if name != "__metadata__":
                assert entry["data_offsets"][0] % sizes[entry["dtype"]] == 0


class TestWriting:
    def test_a_failure_leaves_the_old_file(self, tmp_path: Path, saved: bytes) -> None:
        (tmp_path / "f.hfn").write_bytes(saved)
        broken = make_function().replace(shared={"frequencies": jnp.full((4, 2), jnp.nan)})
        with pytest.raises(UserError, match="not finite"):
            save_function(tmp_path / "f.hfn", broken)
        assert [p.name for p in tmp_path.iterdir()] == ["f.hfn"]
        assert (tmp_path / "f.hfn").read_bytes() == saved

    def test_a_place_that_cannot_be_written_is_the_users_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="cannot be written"):
            save_function(tmp_path / "file" / "f.hfn", make_function())

    def test_values_beyond_float16_are_refused(self, tmp_path: Path) -> None:
        function = make_function()
        theta = function.theta.replace(features=function.theta.features * 1e6)
        with pytest.raises(UserError, match="does not fit float16"):
            save_function(tmp_path / "f.hfn", function.replace(theta=theta), quantize="float16")


def split(data: bytes) -> tuple[dict, int]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), 8 + length


def join(header: dict | bytes, buffer: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + buffer


def edited(*path: str, value) -> bytes:
    """Sets header[path[0]][path[1]]... (to None: deletes it)."""

    def edit(header: dict) -> dict:
        place = header
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        return header

    return edit  # type: ignore


def metadata(key: str, value):
    return edited("__metadata__", key, value=value)


def array(key: str, value, name: str = "theta.features"):
    return edited(name, key, value=value)


def target(**changes):
    fields = {"type": "FourierField", "frequencies": 4, "channels": 3, "bandwidth": 6.0}
    return metadata("target", json.dumps({**fields, **changes}))


BAD_HEADERS = {
    "another format": (metadata("format", "pt"), "its format is 'pt'"),
    "no format": (metadata("format", None), "its format is None"),
    "no metadata": (edited("__metadata__", value=None), "__metadata__ is missing"),
    "a later version": (metadata("version", "2"), "its version is '2'.*use the version that wrote"),
    "version as a number": (metadata("version", 1), "its version is 1"),
    "no target": (metadata("target", None), "target is missing"),
    "unknown target": (target(type="Siren"), "'Siren' is none of CosineMLP, FourierField"),
    "target of a type": (target(type=["FourierField"]), "is none of"),
    "NaN": (target(bandwidth=float("nan")), "holds NaN"),
    "infinity": (metadata("size", "[1e999, 3]"), "inf is no whole number"),
    "infinite field": (target(bandwidth=float("inf")), "holds Infinity"),
    "negative field": (target(frequencies=-4), "-4"),
    "zero field": (target(frequencies=0), "must be positive"),
    "huge field": (target(frequencies=10**12), "is not between -65536 and 65536"),
    "large field": (target(frequencies=65536), "'theta.kernel' is F32"),
    "fractional field": (target(frequencies=4.0), "4.0 is not an integer"),
    "boolean field": (target(channels=True), "True is not an integer"),
    "unknown field": (target(colour=1), "colour"),
    "other channels": (target(channels=4), "'theta.kernel'"),
    "no windows": (metadata("windows", "[]"), "windows is missing, or no JSON object"),
    "gaps between windows": (
        metadata("windows", '{"size": 2, "stride": 3, "overhang": 0.5, "profile": "tent"}'),
        "leave gaps",
    ),
    "unknown profile": (
        metadata("windows", '{"size": 2, "stride": 1, "overhang": 0.5, "profile": "hat"}'),
        "'hat'",
    ),
    "negative size": (metadata("size", "[-9, 11]"), "size: -9 is no whole number"),
    "huge size": (metadata("size", "[9999999999, 11]"), "size: 9999999999"),
    "another size": (metadata("size", "[11, 9]"), r"\[any, 11, 9, any\]"),
    "digits": (metadata("size", "[" + "9" * 5000 + ", 11]"), "is no JSON|is no whole number"),
    "one side": (metadata("size", "[9]"), "is not .height, width."),
    "no JSON": (metadata("size", "{"), "size is no JSON"),
    "unknown base": (metadata("base", "lanczos"), "'lanczos'"),
    "unexpected base": (metadata("base", "none"), "'base' is not expected"),
    "unknown quantization": (metadata("quantization", "int3"), "'int3'"),
    "deep metadata": (metadata("about", "[" * 5000), "nested more than"),
    "notes that are no text": (metadata("about", '{"a": 1}'), "must be text"),
    "repeated key": (metadata("about", '{"a": "1", "a": "2"}'), "twice"),
    "unknown dtype": (array("dtype", "F128"), "'F128'"),
    "dtype of a type": (array("dtype", ["I8"]), "is of dtype"),
    "wrong dtype": (array("dtype", "U8"), "'theta.features' is U8.*must be F32 or F16 or I8"),
    "wide dtype": (array("dtype", "F32"), "needs 2376 bytes, it has 594"),
    "negative shape": (array("shape", [1, -9, -11, 6]), "-9 is no whole number"),
    "zero shape": (array("shape", [1, 9, 11, 0]), "0 is no whole number"),
    "overflowing shape": (array("shape", [2**40, 2**40, 2**40, 6]), "needs"),
    "NaN shape": (array("shape", [1, 9, 11, float("nan")]), "holds NaN"),
    "shape of text": (array("shape", ["1", 9, 11, 6]), "'1' is no whole number"),
    "other shape": (array("shape", [1, 11, 9, 6]), "it must be"),
    "long shape": (array("shape", [1] * 9), "has the shape"),
    "reversed offsets": (array("data_offsets", [600, 6]), "it has -594"),
    "negative offsets": (array("data_offsets", [-594, 0]), "-594 is no whole number"),
    "offsets beyond": (array("data_offsets", [10**6, 10**6 + 594]), "leaves a gap"),
    "overlap": (array("data_offsets", [0, 594]), "overlaps|leaves a gap"),
    "three offsets": (array("data_offsets", [0, 1, 2]), "data_offsets"),
    "fractional offsets": (array("data_offsets", [0.5, 594.5]), "0.5 is no whole number"),
    "no offsets": (array("data_offsets", None), "must have dtype, shape and data_offsets"),
    "an entry of its own": (array("strides", [1]), "must have dtype, shape and data_offsets"),
    "an entry that is none": (edited("theta.features", value=7), "no JSON object"),
}


class TestHostileFiles:
    @pytest.mark.parametrize("case", BAD_HEADERS)
    def test_a_bad_header_is_refused_with_its_reason(
        self, case: str, saved: bytes, tmp_path: Path
    ) -> None:
        edit, reason = BAD_HEADERS[case]
        header, start = split(saved)
        (tmp_path / "f.hfn").write_bytes(join(edit(header), saved[start:]))
        with pytest.raises(UserError, match=f"(?s)f.hfn: .*{reason}") as error:
            load_function(tmp_path / "f.hfn")
        assert len(str(error.value)) < 500

    @pytest.mark.parametrize(
        "name",
        ["theta.features", "theta.kernel", "scales.theta.features", "shared.log_kappa", "base"],
    )
    def test_a_missing_array_is_named(self, name: str, saved: bytes, tmp_path: Path) -> None:
        (tmp_path / "f.hfn").write_bytes(saved)
        with safetensors.safe_open(tmp_path / "f.hfn", "np") as file:
            about = file.metadata()
        arrays = safetensors.numpy.load_file(tmp_path / "f.hfn")
        del arrays[name]
        safetensors.numpy.save_file(arrays, tmp_path / "f.hfn", about)
        missing = "theta.coefficients" if name == "theta.features" else name
        with pytest.raises(UserError, match=f"'{missing}' is missing"):
            load_function(tmp_path / "f.hfn")

    @pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
    def test_values_that_are_not_finite_are_refused(
        self, value: float, saved: bytes, tmp_path: Path
    ) -> None:
        header, start = split(saved)
        first, end = (start + x for x in header["scales.theta.features"]["data_offsets"])
        values = np.full((end - first) // 4, value, np.float32).tobytes()
        (tmp_path / "f.hfn").write_bytes(saved[:first] + values + saved[end:])
        with pytest.raises(UserError, match="not finite|overflows"):
            load_function(tmp_path / "f.hfn")

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "0 bytes are too few"),
            (b"\x00" * 7, "7 bytes are too few"),
            (b"\x00" * 8, "header is no JSON"),
            (b"\x89PNG\r\n\x1a\n" + b"\x00" * 90, "its header would have"),
            (b"\xff" * 64, "its header would have 18446744073709551615 bytes"),
            (struct.pack("<Q", 1 << 20) + b"{}", "do not hold the header"),
            (join(b"\xff\xfe", b""), "header is no JSON"),
            (join(b"[]", b""), "no JSON object"),
            (join(b"[" * 100_000, b""), "nested more than 16 deep"),
            (join(b'{"a":' * 100_000, b""), "nested more than 16 deep"),
            (join(b'{"a":1,"a":2}', b""), "twice"),
            (join(b'{"a' + rb"\"" * 500_000, b""), "no JSON"),  # A string that never ends.
            (join(b'{"a' + rb"\"" * 500_000 + b"\\", b""), "no JSON"),
        ],
        ids=range(13),
    )
    def test_no_header(self, data: bytes, reason: str, tmp_path: Path) -> None:
        (tmp_path / "f.hfn").write_bytes(data)
        for read in (load_function, load_header):
            with pytest.raises(UserError, match=reason):
                read(tmp_path / "f.hfn")

    def test_every_truncation_is_refused(self, saved: bytes, tmp_path: Path) -> None:
        path = tmp_path / "f.hfn"
        for length in [*range(0, len(saved), 37), len(saved) - 1]:
            path.write_bytes(saved[:length])
            with pytest.raises(UserError, match="truncated|too few"):
                load_function(path)
        path.write_bytes(saved + b"\x00")
        with pytest.raises(UserError, match="too long"):
            load_function(path)

    def test_what_is_no_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="No such file"):
            load_function(tmp_path / "f.hfn")
        with pytest.raises(UserError, match="not a file"):
            load_function(tmp_path)

    @settings(
        max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.data())
    def test_flipped_bytes_are_read_or_refused(
        self, saved: bytes, tmp_path: Path, data: st.DataObject
    ) -> None:
        header_end = split(saved)[1]
        place = st.one_of(st.integers(0, header_end - 1), st.integers(0, len(saved) - 1))
        flips = st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=6)
        damaged = bytearray(saved)
        for position, byte in data.draw(flips):
            damaged[position] = byte
        read_or_refuse(tmp_path / "f.hfn", bytes(damaged))

    @settings(
        max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.data())
    def test_changed_headers_are_read_or_refused(
        self, saved: bytes, tmp_path: Path, data: st.DataObject
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
        if name == "__metadata__":  # JSON in text.
            value = st.one_of(value.map(json.dumps), value)
        header[name][key] = data.draw(value)
        read_or_refuse(tmp_path / "f.hfn", join(header, saved[start:]))


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
