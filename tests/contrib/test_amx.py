"""AMX layers agree with XLA's to the precision of bfloat16, and refusals say what to do."""

import functools
import os
import shutil

import hyperfunc_amx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hyperfunc_amx import build
from jax.sharding import NamedSharding, PartitionSpec

import train
from hyperfunc.devices import AXIS, make_mesh
from hyperfunc.errors import UserError
from hyperfunc.experiment import load_model
from hyperfunc.networks import check_training_layers, plain_convolve
from hyperfunc.networks.cpu_gradients import add_gated, convolve_and_add
from hyperfunc.training import make_init


@pytest.fixture
def needs_amx():
    """Skip a test on machines that cannot run it."""
    if hyperfunc_amx.NEEDED - build.cpu_features() or not shutil.which("g++"):
        pytest.skip("needs AMX and g++")


@pytest.fixture
def on_amx(needs_amx):
    yield hyperfunc_amx.enable(make_mesh())
    hyperfunc_amx.disable()


def draw(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


def assert_near(ours, theirs, tolerance=0.004):
    """As near as factors of eight bits and sums of float32 are."""
    assert ours.shape == theirs.shape
    difference = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    assert difference < tolerance


@pytest.mark.parametrize("is_rectified", [False, True])
@pytest.mark.parametrize(
    "shape",
    [
        (8, 16, 48, 64, 64),
        (16, 6, 16, 32, 96),
        (8, 2, 64, 96, 32),
        (24, 34, 32, 64, 64),
        (8, 16, 48, 48, 48),
        (8, 6, 16, 16, 80),
        (8, 4, 32, 48, 16),
    ],
)
def test_a_convolutions_values_and_gradients(on_amx, shape, is_rectified):
    *size, inner, outer = shape
    arguments = draw(*size, inner), draw(3, 3, inner, outer), 9 * draw(outer)
    assert on_amx.suits(*arguments[:2])

    def by_xla(inputs, kernel, bias):
        outputs = plain_convolve(inputs, kernel) + bias[None, None, None]
        return jax.nn.relu(outputs) if is_rectified else outputs

    def by_amx(*arguments):
        return convolve_and_add(*arguments, is_rectified=is_rectified)

    compare(
        by_amx, by_xla, arguments, draw(*size, outer), tolerance=0.05 if is_rectified else 0.004
    )


@pytest.mark.parametrize(
    "shape", [(8, 16, 48, 64), (16, 6, 16, 32), (8, 2, 64, 96), (8, 6, 48, 48), (8, 34, 16, 16)]
)
def test_a_gates_values_and_gradients(on_amx, shape):
    channels = shape[-1]
    arguments = draw(*shape), draw(*shape) + 1, draw(1, 1, channels, channels) / 9, draw(channels)

    def by_xla(shortcut, features, kernel, bias):
        logits = plain_convolve(features, kernel) + bias[None, None, None]
        return shortcut + 1.5 * features * jax.nn.sigmoid(logits)

    def by_amx(*arguments):
        return add_gated(*arguments, 1.5)

    compare(by_amx, by_xla, arguments, draw(*shape) - 2)


@pytest.mark.parametrize("logit", [-200.0, -88.0, -30.0, 0.0, 12.0, 88.0, 200.0])
def test_a_gate_of_any_logit(on_amx, logit):
    shape = (make_mesh().size, 2, 16, 32)
    ones, nothing = jnp.ones(shape), jnp.zeros((1, 1, 32, 32))
    gates = add_gated(jnp.zeros(shape), ones, nothing, jnp.full(32, logit), 1.0)
    np.testing.assert_allclose(gates, jax.nn.sigmoid(logit), rtol=1e-6, atol=1e-37)


def test_what_is_no_number_stays_so(on_amx):
    """A rectifier or a sigmoid that hides it would let a broken run go on."""
    size = (make_mesh().size, 2, 16, 32)
    bias = jnp.zeros(32).at[3].set(jnp.nan)
    rectified = convolve_and_add(draw(*size), draw(3, 3, 32, 32), bias, is_rectified=True)
    gated = add_gated(draw(*size), draw(*size), draw(1, 1, 32, 32), bias, 2.0)
    for outputs in (rectified, gated):
        assert jnp.isnan(outputs[..., 3]).all() and jnp.isfinite(outputs[..., 4]).all()


def compare(by_amx, by_xla, arguments, weight, tolerance=0.004):
    """Compare values, and the gradients to all arguments of their weighted sum."""

    def both(function, arguments):
        values = function(*arguments)
        return (values * weight).sum(), values

    ours, theirs = (
        jax.jit(jax.grad(functools.partial(both, function), has_aux=True))(arguments)
        for function in (by_amx, by_xla)
    )
    jax.tree.map(functools.partial(assert_near, tolerance=tolerance), ours, theirs)


def test_each_device_has_its_part_of_the_batch(on_amx):
    mesh = make_mesh()
    inputs, kernel, bias = draw(2 * mesh.size, 8, 16, 32), draw(3, 3, 32, 32), draw(32)
    expected = convolve_and_add(inputs, kernel, bias)
    sharded = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec(AXIS)))
    result = jax.jit(convolve_and_add)(sharded, kernel, bias)
    assert result.sharding.spec[0] == AXIS
    np.testing.assert_array_equal(result, expected)

    def loss(function, inputs, kernel, bias):
        return (function(inputs, kernel, bias) ** 2).sum()

    def plainly(inputs, kernel, bias):
        return plain_convolve(inputs, kernel) + bias[None, None, None]

    ours = jax.jit(jax.grad(functools.partial(loss, convolve_and_add), argnums=(1, 2)))(
        sharded, kernel, bias
    )
    theirs = [
        jax.grad(functools.partial(loss, plainly), argnums=(1, 2))(x[None], kernel, bias)
        for x in inputs
    ]
    jax.tree.map(lambda x, *parts: assert_near(x, sum(parts)), ours, *theirs)


@pytest.mark.parametrize(
    ("size", "kernel"),
    [
        ((8, 8, 16, 3), (3, 3, 3, 64)),
        ((8, 8, 16, 64), (3, 3, 64, 3)),
        ((8, 8, 16, 64), (5, 5, 64, 64)),
        ((8, 8, 16, 64), (1, 1, 64, 32)),
        ((8, 8, 16, 24), (3, 3, 24, 24)),
        ((8, 7, 16, 64), (3, 3, 64, 64)),
        ((8, 8, 24, 64), (3, 3, 64, 64)),
        ((1, 8, 16, 64), (3, 3, 64, 64)),
    ],
)
def test_what_does_not_suit_is_left_to_xla(on_amx, size, kernel):
    if size[0] == 1 and make_mesh().size == 1:
        pytest.skip("any batch can be divided over one device")
    inputs, weights = draw(*size), draw(*kernel)
    assert not on_amx.suits(inputs, weights)
    if kernel[:2] == (3, 3):
        outputs = convolve_and_add(inputs, weights, jnp.zeros(kernel[-1]))
        np.testing.assert_array_equal(outputs, plain_convolve(inputs, weights))


def test_half_precision_is_left_to_xla(on_amx):
    assert not on_amx.suits(jnp.ones((8, 8, 16, 64), jnp.bfloat16), draw(3, 3, 64, 64))


def test_layers_that_no_step_uses_are_refused(on_amx):
    size = make_mesh().size, 8, 16
    convolve_and_add(draw(*size, 24), draw(3, 3, 24, 24), jnp.zeros(24))
    with pytest.raises(UserError, match="multiples of 16"):
        check_training_layers()
    convolve_and_add(draw(*size, 48), draw(3, 3, 48, 48), jnp.zeros(48))
    check_training_layers()


def test_training_agrees_with_xla(flags, tmp_path, needs_amx, distance):
    """The results differ by rounding, and they do differ, or AMX was not used."""
    wide = [*flags, "--model.backbone.width=32", "--task.crop=16"]
    start = make_init(train.parse(["--workdir=unused", *wide]).experiment)().params
    train.main([f"--workdir={tmp_path / 'xla'}", *wide])
    try:
        train.main([f"--workdir={tmp_path / 'amx'}", *wide, "--amx=True"])
    finally:
        hyperfunc_amx.disable()
    by_xla, by_amx = (load_model(tmp_path / name).variables["params"] for name in ("xla", "amx"))
    assert 0 < distance(by_xla, by_amx) < 0.05 * distance(start, by_xla)


def test_a_cpu_without_it_is_refused(monkeypatch):
    monkeypatch.setattr(hyperfunc_amx, "cpu_features", lambda: {"avx2", "amx_tile"})
    with pytest.raises(UserError, match="lacks amx_bf16, avx512_bf16: leave it out"):
        hyperfunc_amx.enable(make_mesh())


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"no-such-compiler cannot be run: install g\+\+ 12"):
        build.compile_kernels()


def test_a_failing_compiler_is_quoted_and_leaves_nothing(monkeypatch, tmp_path):
    compiler = tmp_path / "old-compiler"
    compiler.write_text("#!/bin/sh\necho 'error: bad value sapphirerapids' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="bad value sapphirerapids"):
        build.compile_kernels()
    assert not list((tmp_path / "cache" / "hyperfunc").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no compiler")
def test_it_is_compiled_once(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = build.compile_kernels()
    time = os.stat(first).st_mtime_ns
    assert build.compile_kernels() == first and os.stat(first).st_mtime_ns == time
    assert list(first.parent.iterdir()) == [first]
