"""Theta as a product and as plain parameters: the two classes agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.networks import FactoredTheta, PlainTheta, mix

GRID = (2, 4, 3)
"""Images, window rows, window columns."""


def draw(*shape: int, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def close(one, two) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(two)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, two)


@pytest.fixture
def factored() -> FactoredTheta:
    return FactoredTheta(draw(*GRID, 5), draw(5, 7, 3, seed=1))


def multiply_out(theta) -> jax.Array:
    features, kernel = theta.factors()
    return jnp.einsum("bhwf,fdc->bhwdc", features, kernel)


def test_both_forms_hold_the_same_parameters(factored):
    plain = PlainTheta(factored.parameters)
    assert plain.batch == factored.batch == 2
    assert plain.layers == factored.layers == ["coefficients"]
    expected = {"coefficients": multiply_out(factored)}
    close(plain.parameters, expected)
    close(factored.parameters, expected)
    close(multiply_out(plain), expected["coefficients"])


def test_both_forms_select_windows(factored):
    rows, cols = jnp.array([[0], [3]]), jnp.array([[2, 1, 1]])
    selected = factored.select(rows, cols)
    close(selected, PlainTheta(factored.parameters).select(rows, cols))
    close(selected["coefficients"], multiply_out(factored)[:, rows, cols])


def test_both_forms_give_their_columns(factored):
    for theta in (factored, PlainTheta(factored.parameters)):
        columns, emit = theta.columns()
        for i in range(GRID[2]):
            column = emit(jax.tree.map(lambda leaf, i=i: leaf[i], columns))
            close(column, multiply_out(factored)[:, :, i].transpose(2, 3, 0, 1))


def test_both_forms_scale_their_basis(factored):
    factors = draw(7, seed=2)
    expected = multiply_out(factored) * factors[None, None, None, :, None]
    close(multiply_out(factored.scale_basis(factors)), expected)
    close(multiply_out(PlainTheta(factored.parameters).scale_basis(factors)), expected)


def test_a_change_of_windows_keeps_the_kernel(factored):
    flipped = factored.map_windows(lambda leaf: leaf[:, ::-1])
    assert flipped.kernel is factored.kernel
    close(multiply_out(flipped), multiply_out(factored)[:, ::-1])
    both = factored.map_windows(lambda *leaves: jnp.concatenate(leaves, axis=2), flipped)
    close(multiply_out(both)[:, :, GRID[2] :], multiply_out(flipped))


@pytest.mark.parametrize("has_equal_kernels", [True, False])
def test_a_mix_is_linear_in_the_parameters(factored, has_equal_kernels):
    kernel = factored.kernel if has_equal_kernels else draw(5, 7, 3, seed=3)
    other = FactoredTheta(draw(*GRID, 5, seed=4), kernel)
    mixed = factored.mix(other, 0.3, ["coefficients"])
    assert isinstance(mixed, FactoredTheta) == has_equal_kernels
    close(multiply_out(mixed), 0.7 * multiply_out(factored) + 0.3 * multiply_out(other))
    plain = PlainTheta(factored.parameters).mix(other, 0.3, ["coefficients"])
    close(mixed.parameters, plain.parameters)
    close(factored.mix(other, 0.3, []).parameters, factored.parameters)


def test_only_the_named_layers_are_mixed():
    one, two = ({f"layer_{i}": draw(*GRID, 4, seed=s + i) for i in range(2)} for s in (0, 5))
    mixed = PlainTheta(one).mix(PlainTheta(two), 1.0, ["layer_1"]).parameters
    close(mixed, {"layer_0": one["layer_0"], "layer_1": two["layer_1"]})
    slope = jax.grad(lambda t: mix(one, two, t)["layer_0"].sum())(0.3)
    np.testing.assert_allclose(slope, (two["layer_0"] - one["layer_0"]).sum(), rtol=1e-5)


def test_layers_are_listed_in_the_order_of_their_application():
    names = [f"layer_{i}" for i in (10, 2, 0)]
    theta = PlainTheta({name: draw(*GRID, 2) for name in names})
    assert theta.layers == ["layer_0", "layer_2", "layer_10"]
    assert theta.numbers_per_window == 6
