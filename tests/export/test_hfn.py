"""A function that is saved and loaded again, and the file in between."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from hyperfunc.errors import UserError
from hyperfunc.export import load_function, load_header, save_function
from hyperfunc.export.packing import quantize_int8
from hyperfunc.function import FunctionalImage, encode, render
from hyperfunc.networks import CosineMLP, PlainTheta
from hyperfunc.pixels import WHOLE_IMAGE, WindowLayout

SIZE = (9, 11)
MakeFunction = Callable[..., FunctionalImage]

FUNCTIONS = {  # Arguments of make_function.
    "factored": {},
    "batch": {"batch": 2},
    "wide": {"size": (3, 40)},
    "coefficients": {"features": 0},
    "no base": {"has_base": False},
    "one pixel": {"size": (1, 1)},
    "mlp per pixel": {"target": CosineMLP(hidden=(5,), output="linear")},
    "patches": {
        "target": CosineMLP(hidden=(4, 6, 8, 6), footprint=True),
        "layout": WindowLayout(size=4, stride=2, overhang=0.0),
        "size": (10, 12),
        "has_base": False,
    },
    "face": {
        "target": CosineMLP(hidden=(4, 6, 8, 6), normalization="batch"),
        "layout": WHOLE_IMAGE,
        "has_base": False,
    },
    "some layers emitted": {"target": CosineMLP(hidden=(4, 5), emitted=(0, 2))},
}


@pytest.fixture(params=FUNCTIONS, ids=list(FUNCTIONS))
def function(request: pytest.FixtureRequest, make_function: MakeFunction) -> FunctionalImage:
    return make_function(**FUNCTIONS[request.param])


def leaves(function: FunctionalImage) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(function)]


def test_a_function_in_float32_is_unchanged(function: FunctionalImage, tmp_path: Path) -> None:
    save_function(tmp_path / "f.hfn", function, quantize=None)
    loaded = load_function(tmp_path / "f.hfn")
    # The structure includes the static fields: target, layout and size.
    assert jax.tree.structure(loaded) == jax.tree.structure(function)
    for before, after in zip(leaves(function), leaves(loaded), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(("quantize", "relative"), [("float16", 2**-11), ("int8", 1 / 254)])
def test_quantisation_changes_a_value_by_half_a_level_at_most(
    function: FunctionalImage, tmp_path: Path, quantize, relative: float
) -> None:
    save_function(tmp_path / "f.hfn", function, quantize=quantize)
    loaded = load_function(tmp_path / "f.hfn")
    for before, after in zip(leaves(function), leaves(loaded), strict=True):
        assert np.abs(before - after).max() <= 1.01 * relative * np.abs(before).max()


def test_shared_parameters_and_the_base_stay_exact(
    make_function: MakeFunction, tmp_path: Path
) -> None:
    function = make_function()
    save_function(tmp_path / "f.hfn", function)
    loaded = load_function(tmp_path / "f.hfn")
    np.testing.assert_array_equal(function.base, loaded.base)
    np.testing.assert_array_equal(function.theta.kernel, loaded.theta.kernel)
    for name, leaf in function.shared.items():
        np.testing.assert_array_equal(leaf, loaded.shared[name])


@pytest.mark.parametrize(("top", "dtype"), [(255, "U8"), (65535, "U16"), (254.5, "F32")], ids=str)
def test_the_base_is_stored_in_as_few_bits_as_it_was_made_of(
    make_function: MakeFunction, tmp_path: Path, top: float, dtype: str
) -> None:
    levels = np.random.default_rng(1).integers(0, int(top), (1, *SIZE, 3))
    base = jnp.asarray(levels.astype(np.float32) / np.float32(top))
    save_function(tmp_path / "f.hfn", make_function().replace(base=base))
    assert load_header(tmp_path / "f.hfn")["tensors"]["base"]["dtype"] == dtype
    np.testing.assert_array_equal(load_function(tmp_path / "f.hfn").base, base)


def test_padding_is_left_out(tiny_experiment, tmp_path: Path) -> None:
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


def test_int8_uses_the_whole_range_of_each_feature() -> None:
    values = np.random.default_rng(0).normal(size=(1, 20, 20, 3)) * [1e-3, 1.0, 1e3]
    levels, scale = quantize_int8(values.astype(np.float32))
    assert scale.shape == (1, 1, 1, 3)
    np.testing.assert_array_equal(np.abs(levels).max(axis=(0, 1, 2)), 127)
    assert np.abs(levels * scale - values).max(axis=(0, 1, 2)) == pytest.approx(
        scale[0, 0, 0] / 2, rel=0.05
    )


def test_int8_scales_each_row_of_windows() -> None:
    values = np.random.default_rng(0).normal(size=(1, 5, 40, 3)).astype(np.float32)
    values[0, 2] *= 1e4
    levels, scale = quantize_int8(values)
    assert scale.shape == (1, 5, 1, 3)
    assert np.abs(levels * scale - values)[:, [0, 1, 3, 4]].max() < 0.02


def test_the_header_describes_the_file(make_function: MakeFunction, tmp_path: Path) -> None:
    save_function(tmp_path / "f.hfn", make_function(), about={"model": "sr", "step": "9000"})
    header = load_header(tmp_path / "f.hfn")
    assert header["about"] == {"model": "sr", "step": "9000"}
    assert header["size"] == SIZE
    assert header["target"]["type"] == "FourierField"
    assert header["windows"] == {"size": 2, "stride": 1, "overhang": 0.5, "profile": "tent"}
    assert header["quantization"] == "int8"
    assert header["tensors"]["theta.features"] == {"dtype": "I8", "shape": [1, *SIZE, 6]}
    assert header["bytes"] == (tmp_path / "f.hfn").stat().st_size


def test_safetensors_opens_a_file(function: FunctionalImage, tmp_path: Path) -> None:
    save_function(tmp_path / "f.hfn", function)
    header = load_header(tmp_path / "f.hfn")
    arrays = safetensors.numpy.load_file(tmp_path / "f.hfn")
    assert {name: list(array.shape) for name, array in arrays.items()} == {
        name: entry["shape"] for name, entry in header["tensors"].items()
    }
    with safetensors.safe_open(tmp_path / "f.hfn", "np") as file:
        assert file.metadata()["format"] == "hyperfunc"


def test_a_function_in_another_memory_layout_is_saved(
    make_function: MakeFunction, tmp_path: Path
) -> None:
    """Arrays may be views, whose memory is in another order than their values."""
    function = make_function(features=0)
    transposed = np.asfortranarray(function.expanded()["coefficients"])
    function = function.replace(theta=PlainTheta({"coefficients": transposed}))
    save_function(tmp_path / "f.hfn", function, quantize=None)
    loaded = load_function(tmp_path / "f.hfn")
    np.testing.assert_array_equal(loaded.expanded()["coefficients"], transposed)


def test_a_failure_leaves_the_old_file(make_function: MakeFunction, tmp_path: Path) -> None:
    (tmp_path / "f.hfn").write_bytes(b"old")
    broken = make_function().replace(shared={"frequencies": jnp.full((4, 2), jnp.nan)})
    with pytest.raises(UserError, match="not finite"):
        save_function(tmp_path / "f.hfn", broken)
    assert [p.name for p in tmp_path.iterdir()] == ["f.hfn"]
    assert (tmp_path / "f.hfn").read_bytes() == b"old"


def test_a_file_that_cannot_be_written_is_the_users_error(
    make_function: MakeFunction, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        save_function(tmp_path / "file" / "f.hfn", make_function())


def test_a_pipe_receives_the_file(make_function: MakeFunction, tmp_path: Path) -> None:
    save_function(tmp_path / "f.hfn", make_function(), quantize=None)
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        save_function(tmp_path / "pipe", make_function(), quantize=None)
        (tmp_path / "copy.hfn").write_bytes(os.read(end, 1 << 16))
    finally:
        os.close(end)
    for before, after in zip(
        leaves(load_function(tmp_path / "f.hfn")),
        leaves(load_function(tmp_path / "copy.hfn")),
        strict=True,
    ):
        np.testing.assert_array_equal(before, after)


def test_a_file_is_as_readable_as_other_files(make_function: MakeFunction, tmp_path: Path) -> None:
    save_function(tmp_path / "f.hfn", make_function())
    (tmp_path / "other").touch()
    assert (tmp_path / "f.hfn").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_values_beyond_float16_are_refused(make_function: MakeFunction, tmp_path: Path) -> None:
    function = make_function()
    theta = function.theta.replace(features=function.theta.features * 1e6)
    with pytest.raises(UserError, match="does not fit float16"):
        save_function(tmp_path / "f.hfn", function.replace(theta=theta), quantize="float16")
