"""The convolution for training agrees with XLA's, in values and in gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.backbones import EDSR, RDN
from hyperfunc.convolution import (
    convolve,
    convolve_for_flax,
    kernel_gradient,
    kernel_gradient_as_product,
    plain_convolve,
)


def draw(*shape):
    numbers = np.random.default_rng(len(shape)).standard_normal(shape)
    return jnp.asarray(numbers, jnp.float32)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 4)])
def test_gradients_are_those_of_xla(size):
    inputs, kernel, weight = draw(2, *size, 3), draw(3, 3, 3, 5), draw(2, *size, 5)

    def loss(function, inputs, kernel):
        return (function(inputs, kernel) * weight).sum()

    ours, theirs = (
        jax.value_and_grad(loss, argnums=(1, 2))(function, inputs, kernel)
        for function in (convolve, plain_convolve)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": (5, 5)},
        {"strides": (2, 2)},
        {"padding": "VALID"},
        {"rhs_dilation": (2, 2)},
        {"feature_group_count": 3},
    ],
)
def test_it_refuses_to_be_another_convolution(options):
    given = {"kernel": (3, 3), "strides": (1, 1), "padding": "SAME"} | options
    kernel = draw(*given.pop("kernel"), 3, 3)
    with pytest.raises(ValueError, match="3x3 or 1x1, of stride 1"):
        convolve_for_flax(draw(1, 4, 4, 3), kernel, **given)


def test_both_forms_of_the_kernels_gradient_agree():
    # Only one of them runs on a given machine.
    inputs, gradient = draw(2, 6, 9, 4), draw(2, 6, 9, 3)
    np.testing.assert_allclose(
        kernel_gradient_as_product(inputs, gradient),
        kernel_gradient(inputs, gradient),
        rtol=2e-5,
        atol=2e-5,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "trunk", [EDSR(width=8, blocks=2, attention=True, fusion=True), RDN(8, 1, 2, 4)]
)
def test_trunks_train_with_it_as_they_would_without(trunk, dtype):
    trunk = trunk.clone(dtype=dtype)
    images = draw(2, 6, 6, 3)
    variables = trunk.init(jax.random.key(0), images)

    def gradient(train):
        def loss(variables):
            features = trunk.apply(variables, images, train=train)
            return jnp.square(features.astype(jnp.float32)).mean()

        return jax.jit(jax.value_and_grad(loss))(variables)

    assert "custom_vjp" in str(
        jax.make_jaxpr(lambda v: trunk.apply(v, images, train=True))(variables)
    )
    assert "custom_vjp" not in str(jax.make_jaxpr(lambda v: trunk.apply(v, images))(variables))
    tolerance = 1e-5 if dtype == "float32" else 0.03
    for ours, theirs in zip(*(jax.tree.leaves(gradient(t)) for t in (True, False)), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, atol=tolerance * float(jnp.abs(theirs).max()))
