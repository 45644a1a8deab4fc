"""Convolutions on AMX agree with XLA's to what bfloat16 can hold, and users hear why not."""

import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hyperfunc import amx
from hyperfunc.convolution import convolve, plain_convolve
from hyperfunc.errors import UserError
from hyperfunc.sharding import AXIS, make_mesh


@pytest.fixture
def on_amx():
    if amx.NEEDED - amx._cpu_features() or not shutil.which("g++"):
        pytest.skip("needs AMX and g++")
    amx.enable(make_mesh())
    yield
    amx.disable()


def draw(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


def assert_near(ours, theirs):
    """As near as factors of eight bits and sums of float32 are."""
    assert ours.shape == theirs.shape
    difference = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    assert difference < 0.004


@pytest.mark.parametrize(
    "shape", [(8, 16, 48, 64, 64), (16, 6, 16, 32, 96), (8, 2, 64, 96, 32), (24, 34, 32, 64, 64)]
)
def test_values_and_gradients(on_amx, shape):
    *size, inner, outer = shape
    inputs, kernel, weight = draw(*size, inner), draw(3, 3, inner, outer), draw(*size, outer)
    assert amx.suits(inputs, kernel)

    def both(function):
        return lambda x, k: ((function(x, k) * weight).sum(), function(x, k))

    gradients, values = (
        jax.jit(jax.grad(both(function), argnums=(0, 1), has_aux=True))(inputs, kernel)
        for function in (convolve, plain_convolve)
    )
    jax.tree.map(assert_near, gradients, values)


def test_each_device_has_its_part_of_the_batch(on_amx):
    mesh = make_mesh()
    inputs, kernel = draw(2 * mesh.size, 8, 16, 32), draw(3, 3, 32, 32)
    expected = convolve(inputs, kernel)
    sharded = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec(AXIS)))
    result = jax.jit(convolve)(sharded, kernel)
    assert result.sharding.spec[0] == AXIS
    np.testing.assert_array_equal(result, expected)
    (gradient,) = jax.jit(jax.grad(lambda k: (convolve(sharded, k) ** 2).sum(), argnums=(0,)))(
        kernel
    )
    alone = [
        jax.grad(lambda k, x=x: (plain_convolve(x[None], k) ** 2).sum())(kernel) for x in inputs
    ]
    assert_near(gradient, sum(alone))


@pytest.mark.parametrize(
    ("size", "kernel"),
    [
        ((8, 8, 16, 3), (3, 3, 3, 64)),
        ((8, 8, 16, 64), (3, 3, 64, 3)),
        ((8, 8, 16, 64), (1, 1, 64, 64)),
        ((8, 7, 16, 64), (3, 3, 64, 64)),
        ((8, 8, 24, 64), (3, 3, 64, 64)),
        ((1, 8, 16, 64), (3, 3, 64, 64)),
    ],
)
def test_what_does_not_suit_is_left_to_xla(on_amx, size, kernel):
    if size[0] == 1 and make_mesh().size == 1:
        pytest.skip("any batch can be divided over one device")
    inputs, weights = draw(*size), draw(*kernel)
    assert not amx.suits(inputs, weights)
    if kernel[:2] == (3, 3):
        np.testing.assert_array_equal(convolve(inputs, weights), plain_convolve(inputs, weights))


def test_half_precision_is_left_to_xla(on_amx):
    assert not amx.suits(jnp.ones((8, 8, 16, 64), jnp.bfloat16), draw(3, 3, 64, 64))


def test_it_is_off_unless_asked_for():
    assert not amx.suits(draw(8, 8, 16, 64), draw(3, 3, 64, 64))


def test_a_cpu_without_it_is_refused(monkeypatch):
    monkeypatch.setattr(amx, "_cpu_features", lambda: {"avx2", "amx_tile"})
    with pytest.raises(UserError, match="lacks amx_bf16, avx512_bf16: leave it out"):
        amx.enable(make_mesh())


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"no-such-compiler cannot be run: install g\+\+ 12"):
        amx.build()


def test_a_failing_compiler_is_quoted_and_leaves_nothing(monkeypatch, tmp_path):
    compiler = tmp_path / "old-compiler"
    compiler.write_text("#!/bin/sh\necho 'error: bad value sapphirerapids' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="bad value sapphirerapids"):
        amx.build()
    assert not list((tmp_path / "cache" / "hyperfunc").iterdir())


@pytest.mark.skipif(not shutil.which("g++"), reason="no compiler")
def test_it_is_compiled_once(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = amx.build()
    time = os.stat(first).st_mtime_ns
    assert amx.build() == first and os.stat(first).st_mtime_ns == time
    assert list(first.parent.iterdir()) == [first]
