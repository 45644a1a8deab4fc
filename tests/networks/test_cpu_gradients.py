"""The layers with fast gradients have the values and gradients of XLA's."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.errors import UserError
from hyperfunc.networks import (
    EDSR,
    INFERENCE,
    RDN,
    TRAINING,
    CosineMLP,
    DenseTrunk,
    PatchHypernetwork,
    check_training_layers,
    plain_convolve,
    register_training_layers,
)
from hyperfunc.networks.cpu_gradients import (
    convolve,
    convolve_and_add,
    convolve_depthwise,
    convolve_line_for_flax,
    dense,
    depthwise_as_grouped,
    depthwise_as_sum,
    dot_for_flax,
    kernel_gradient,
    kernel_gradient_as_product,
)
from hyperfunc.networks.layers import Convolution, Fusion, PixelAttention


def draw(*shape):
    numbers = np.random.default_rng(len(shape)).standard_normal(shape)
    return jnp.asarray(numbers, jnp.float32)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 4)])
def test_gradients_equal_those_of_xla(size):
    inputs, kernel, weight = draw(2, *size, 3), draw(3, 3, 3, 5), draw(2, *size, 5)

    def loss(function, inputs, kernel):
        return (function(inputs, kernel) * weight).sum()

    ours, theirs = (
        jax.value_and_grad(loss, argnums=(1, 2))(function, inputs, kernel)
        for function in (convolve, plain_convolve)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), ours, theirs)


@pytest.mark.parametrize("size", [(1, 1), (7, 4), (9, 5)])
def test_depthwise_convolves_each_channel(size):
    inputs, kernel, weight = draw(2, *size, 6), draw(5, 5, 6), draw(2, *size, 6)

    def one_by_one(inputs, kernel):
        parts = [
            plain_convolve(inputs[..., i : i + 1], kernel[:, :, None, i : i + 1]) for i in range(6)
        ]
        return jnp.concatenate(parts, axis=-1)

    def evaluate(function):
        def loss(*arguments):
            return (function(*arguments) * weight).sum()

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(inputs, kernel)

    theirs = evaluate(one_by_one)
    for function in (convolve_depthwise, depthwise_as_grouped, depthwise_as_sum):
        ours = evaluate(function)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=4e-5), ours, theirs
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("is_rectified", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_a_layer_equals_that_of_flax(size, is_rectified, dtype):
    layer = Convolution(5, size, is_rectified, dtype)
    flax = nn.Conv(5, (size, size), dtype=jnp.dtype(dtype))
    inputs = draw(2, 7, 4, 3)
    variables = layer.init(jax.random.key(0), inputs, fast_gradients=True)
    jax.tree.map(np.testing.assert_array_equal, variables, flax.init(jax.random.key(0), inputs))
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    expected = flax.apply(variables, inputs)
    expected = nn.relu(expected) if is_rectified else expected
    for fast in (False, True):
        assert_near(layer.apply(variables, inputs, fast_gradients=fast), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pixel_attention_equals_its_formula(dtype):
    attention = PixelAttention(0.3, dtype)
    shortcut, inputs = draw(2, 7, 4, 5), draw(2, 7, 4, 5).astype(dtype) - 1
    shortcut = shortcut.astype(dtype)
    variables = attention.init(jax.random.key(0), shortcut, inputs, fast_gradients=True)
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    logits = nn.Conv(5, (1, 1), dtype=jnp.dtype(dtype)).apply(variables, inputs)
    expected = shortcut + 0.3 * 2 * inputs * nn.sigmoid(logits)
    for fast in (False, True):
        gated = attention.apply(variables, shortcut, inputs, fast_gradients=fast)
        assert_near(gated, expected)


def assert_near(ours, theirs):
    assert ours.dtype == theirs.dtype
    tolerance = 2e-5 if ours.dtype == jnp.float32 else 0.02
    ours, theirs = (x.astype(jnp.float32) for x in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_other_kernel_sizes_are_refused():
    with pytest.raises(ValueError, match=r"3x3 or 1x1, not \(5, 5\)"):
        convolve_and_add(draw(1, 4, 4, 3), draw(5, 5, 3, 3), draw(3))


@pytest.mark.parametrize("channels", [(4, 3), (3, 6)])
def test_both_forms_of_the_kernels_gradient_agree(channels):
    # Only one of them runs on a given machine.
    inputs, gradient = (draw(2, 6, 9, count) for count in channels)
    np.testing.assert_allclose(
        kernel_gradient_as_product(inputs, gradient),
        kernel_gradient(inputs, gradient),
        rtol=2e-5,
        atol=2e-5,
    )


@pytest.mark.parametrize("sides", [(1, 1), (1, 4), (3, 1), (4, 1)])
def test_a_line_is_convolved_as_by_xla(sides):
    inputs, kernel = draw(2, 9, 8, 3), draw(*sides, 3, 5)

    @functools.partial(jax.jit, static_argnums=0)  # One program for all cases compiles faster.
    def evaluate(function, inputs, kernel):
        def loss(inputs, kernel, strides, padding):
            outputs = function(
                inputs, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            return jnp.sin(outputs).sum(), outputs

        differentiate = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        cases = itertools.product([(1, 1), (1, 2), (2, 1), (2, 2)], ["SAME", "VALID"])
        return {str(case): differentiate(inputs, kernel, *case) for case in cases}

    ours, theirs = (
        evaluate(function, inputs, kernel)
        for function in (convolve_line_for_flax, jax.lax.conv_general_dilated)
    )
    assert len(ours) == 8
    for case, expected in theirs.items():
        for a, b in zip(jax.tree.leaves(ours[case]), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=case)


@pytest.mark.parametrize("leading", [(4,), (2, 1, 3)])
def test_gradients_of_a_dense_layer_equal_those_of_xla(leading):
    inputs, kernel, weight = draw(*leading, 5), draw(5, 7), draw(*leading, 7)

    def loss(function, inputs, kernel):
        return (function(inputs, kernel) * weight).sum()

    ours, theirs = (
        jax.value_and_grad(loss, argnums=(1, 2))(function, inputs, kernel)
        for function in (dense, jnp.matmul)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), ours, theirs)


@pytest.mark.parametrize(
    ("axes", "precision"), [((((0,), (0,)), ((), ())), None), ((((1,), (0,)), ((), ())), "highest")]
)
def test_other_products_are_refused(axes, precision):
    with pytest.raises(ValueError, match="leave it to Flax"):
        dot_for_flax(draw(5, 5), draw(5, 5), axes, precision=precision)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_fusion_equals_a_convolution_of_the_concatenation(dtype):
    features = [draw(2, 5, 4, channels) for channels in (3, 8, 5)]
    fusion, conv = Fusion(6, dtype), nn.Conv(6, (1, 1), dtype=jnp.dtype(dtype))
    variables = fusion.init(jax.random.key(0), features)
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)  # So that the bias is not zero.
    expected = conv.apply(variables, jnp.concatenate(features, axis=-1))
    fused = fusion.apply(variables, features)
    assert_near(fused, expected)
    same = nn.Conv(6, (1, 1)).init(jax.random.key(0), jnp.concatenate(features, axis=-1))
    assert jax.tree.map(jnp.shape, same) == jax.tree.map(jnp.shape, variables)


def test_the_gradient_of_a_dense_kernel_is_not_transposed():
    # The optimiser would read it column by column, in more than half of the time of a step.
    def gradient(function):
        def loss(kernel):
            return jnp.square(function(jnp.ones((4, 5)), kernel)).sum()

        return str(jax.make_jaxpr(jax.grad(loss))(jnp.ones((5, 7))))

    assert "transpose" in gradient(jnp.matmul)
    assert "transpose" not in gradient(dense)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "trunk",
    [EDSR(width=8, blocks=2, attention=True, fusion=True), RDN(8, 1, 2, 4), DenseTrunk(8)],
)
def test_trunks_have_the_same_gradients_in_training(trunk, dtype):
    trunk = trunk.clone(dtype=dtype)
    images = draw(2, 6, 6, 3)
    variables = trunk.init(jax.random.key(0), images)

    def gradient(mode):
        def loss(variables):
            features = trunk.apply(variables, images, mode=mode)
            return jnp.square(features.astype(jnp.float32)).mean()

        return jax.jit(jax.value_and_grad(loss))(variables)

    assert "custom_vjp" in str(
        jax.make_jaxpr(lambda v: trunk.apply(v, images, mode=TRAINING))(variables)
    )
    assert "custom_vjp" not in str(jax.make_jaxpr(lambda v: trunk.apply(v, images))(variables))
    tolerance = 1e-5 if dtype == "float32" else 0.03
    for ours, theirs in zip(
        *(jax.tree.leaves(gradient(m)) for m in (TRAINING, INFERENCE)), strict=True
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, atol=tolerance * float(jnp.abs(theirs).max()))


@pytest.mark.slow
def test_a_patch_hypernetwork_has_the_same_gradients_in_training():
    # Only dense layers, because batch normalisation changes values in training.
    network = PatchHypernetwork(
        DenseTrunk(8), CosineMLP(hidden=(4,), normalization="batch"), branch_convs=0, code=6
    )
    images = draw(2, 8, 8, 3)
    variables = network.init(jax.random.key(0), images)

    def gradient(mode):
        def loss(variables):
            theta, *_ = network.apply(variables, images, mode=mode)
            return sum(jnp.square(leaf).mean() for leaf in jax.tree.leaves(theta))

        return jax.jit(jax.grad(loss))(variables)

    jaxpr = str(jax.make_jaxpr(lambda v: network.apply(v, images, mode=TRAINING))(variables))
    assert jaxpr.count("custom_vjp") > str(
        jax.make_jaxpr(lambda v: DenseTrunk(8).apply(v, images, mode=TRAINING))(
            {"params": variables["params"]["backbone"]}
        )
    ).count("custom_vjp")
    for ours, theirs in zip(
        *(jax.tree.leaves(gradient(m)) for m in (TRAINING, INFERENCE)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-7)


class DoublingLayers:
    """Layers that suit kernels of 3x3 and return twice the true values."""

    def __init__(self):
        self.is_used = False

    def suits(self, inputs, kernel):
        return kernel.shape[:2] == (3, 3)

    def convolve(self, inputs, kernel, bias, is_rectified):
        self.is_used = True
        return 2 * (plain_convolve(inputs, kernel) + bias.reshape(1, 1, 1, -1))

    def add_gated(self, shortcut, features, kernel, bias, factor):
        raise AssertionError("a 1x1 kernel does not suit")

    def check_use(self):
        if not self.is_used:
            raise UserError("no layer suits")


@pytest.fixture
def doubling():
    layers = DoublingLayers()
    register_training_layers(layers)
    yield layers
    register_training_layers(None)


def test_registered_layers_are_used_where_they_suit(doubling):
    inputs = jax.random.normal(jax.random.key(0), (2, 5, 6, 4))
    three, one = (jax.random.normal(jax.random.key(n), (n, n, 4, 4)) for n in (3, 1))
    bias = jnp.zeros(4)
    with pytest.raises(UserError, match="no layer suits"):
        check_training_layers()
    np.testing.assert_array_equal(
        convolve_and_add(inputs, three, bias), 2 * plain_convolve(inputs, three)
    )
    np.testing.assert_allclose(
        convolve_and_add(inputs, one, bias), plain_convolve(inputs, one), rtol=1e-5, atol=1e-5
    )
    check_training_layers()


def test_layers_are_removed(doubling):
    register_training_layers(None)
    inputs, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    np.testing.assert_allclose(
        convolve_and_add(inputs, kernel, jnp.zeros(2)), plain_convolve(inputs, kernel), rtol=1e-6
    )
    check_training_layers()
