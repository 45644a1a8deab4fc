"""The decoder that people copy against the renderers that JAX compiles."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.export import numpy_decoder, save_function
from hyperfunc.function import FunctionalImage, render
from hyperfunc.networks import CosineMLP, FactoredTheta, FourierField, PlainTheta
from hyperfunc.pixels import PER_PIXEL

SIZE = (13, 16)
render_jit = jax.jit(render, static_argnames="size")
SIZES = {
    "x2": (26, 32),
    "x3.7": (48, 59),
    "2.5x1": (32, 16),
    "a little smaller": (12, 14),
    "half": (7, 8),
    "a fifth": (3, 4),
    "mixed": (5, 40),
}


def make_function(*, is_factored: bool = True, has_base: bool = True) -> FunctionalImage:
    rng = np.random.default_rng(0)
    target = FourierField(frequencies=8)
    theta = FactoredTheta(
        jnp.asarray(rng.normal(size=(2, *SIZE, 12)), jnp.float32),
        jnp.asarray(rng.normal(scale=0.02, size=(12, 17, 3)), jnp.float32),
    )
    return FunctionalImage(
        theta=theta if is_factored else PlainTheta(theta.parameters),
        shared=target.init(jax.random.key(0))[1],
        base=jnp.asarray(rng.random((2, *SIZE, 3)), jnp.float32) if has_base else None,
        exists=(jnp.ones(SIZE[0]), jnp.ones(SIZE[1])),
        target=target,
        layout=PER_PIXEL,
        size=SIZE,
    )


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize(
    ("quantize", "tolerance"), [(None, 1e-4), ("float16", 1e-3), ("int8", 1.5 / 255)]
)
def test_agrees_with_render(
    tmp_path: Path, quantize, tolerance: float, size: tuple[int, int]
) -> None:
    function = make_function()
    save_function(tmp_path / "f.hfn", function, quantize=quantize)
    expected = np.asarray(render_jit(function, size))
    for index in range(2):
        image = numpy_decoder.render(tmp_path / "f.hfn", *size, index=index)
        assert image.dtype == np.float32
        assert np.abs(image - expected[index]).max() < tolerance


@pytest.mark.parametrize("is_factored", [False, True])
@pytest.mark.parametrize("has_base", [False, True])
def test_reads_every_kind_of_field(tmp_path: Path, is_factored: bool, has_base: bool) -> None:
    function = make_function(is_factored=is_factored, has_base=has_base)
    save_function(tmp_path / "f.hfn", function, quantize=None)
    image = numpy_decoder.render(tmp_path / "f.hfn", 30, 50)
    np.testing.assert_allclose(image, render_jit(function, (30, 50))[0], atol=1e-4)


def test_needs_numpy_alone(tmp_path: Path) -> None:
    save_function(tmp_path / "f.hfn", make_function())
    program = (
        "import sys, runpy; sys.modules.update(dict.fromkeys(['jax', 'hyperfunc', 'flax', 'PIL']));"
        f"render = runpy.run_path({numpy_decoder.__file__!r})['render'];"
        f"print(render({str(tmp_path / 'f.hfn')!r}, 20, 30).shape)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "(20, 30, 3)"


def test_is_short_enough_to_copy() -> None:
    lines = Path(numpy_decoder.__file__).read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.strip().startswith("#")]
    assert len(code) < 100


def test_other_functions_are_refused(tmp_path: Path) -> None:
    target = CosineMLP(hidden=(3,))
    theta, shared = target.init(jax.random.key(0))
    function = make_function().replace(
        theta=PlainTheta(jax.tree.map(lambda x: jnp.broadcast_to(x, (2, *SIZE, *x.shape)), theta)),
        shared=shared,
        target=target,
    )
    save_function(tmp_path / "f.hfn", function)
    with pytest.raises(ValueError, match="FourierField"):
        numpy_decoder.render(tmp_path / "f.hfn", 4, 4)
