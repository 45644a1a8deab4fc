"""A filter of a functional image is the integral of both, as a sum over fine nodes gives it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from hyperfunc.filters import ContinuousConv, FourierKernel, NetworkKernel, filter_function
from hyperfunc.function import encode, render, sample
from hyperfunc.networks import EDSR, CosineMLP, FourierField, PatchHypernetwork, PixelHypernetwork
from hyperfunc.pixels import WindowLayout

SIZE = (4, 5)
IMAGE = jax.random.uniform(jax.random.key(3), (2, *SIZE, 3))


def encode_with(model):
    variables = jax.jit(model.init)(jax.random.key(0), IMAGE)
    return jax.jit(lambda variables: encode(model, variables, IMAGE)[0])(variables)


@pytest.fixture(scope="module")
def field():
    target = FourierField(frequencies=3, bandwidth=2.0)
    return encode_with(PixelHypernetwork(EDSR(8, 1), target, branch_scale=1.0))


def draw(kernel):
    layer = ContinuousConv(2, kernel)
    variables = layer.init(jax.random.key(0), IMAGE)
    params = variables["params"]
    return layer, {"params": {**params, "bias": jnp.array([0.5, -1.0])}}


def integrate(layer, variables, function, size, pitch):
    """Integrate with Gauss-Legendre nodes on pieces of a quarter pixel, where all is smooth."""
    nodes, weights = np.polynomial.legendre.leggauss(4)
    axes = [((np.arange(4 * n)[:, None] + 0.5 + nodes / 2) / 4).reshape(-1) for n in function.size]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) / np.array(function.size)
    values = np.asarray(sample(function, jnp.asarray(points, jnp.float32), footprint=(0.25, 0.25)))
    kernel, factors = layer.kernel, []
    for axis, n, m, step in zip(axes, function.size, size, pitch, strict=True):
        offset = (axis[None] - ((np.arange(m) + 0.5) * n / m)[:, None]) * step
        basis = np.asarray(kernel.basis(jnp.asarray(offset, jnp.float32)))
        weight = np.tile(weights, 4 * n) / 8 * step
        factors.append(basis * (np.abs(offset) < kernel.radius)[..., None] * weight[:, None])
    coefficients, bias = (np.asarray(variables["params"][name]) for name in ("kernel", "bias"))
    operands = (values, *factors, coefficients)
    return np.einsum("bpqc,ypm,xqn,mnco->byxo", *operands, optimize=True) + bias


@pytest.mark.parametrize(
    "size, pitch", [(SIZE, (1.0, 1.0)), ((8, 5), (2.0, 1.0)), ((2, 10), (0.75, 1.5))], ids=str
)
def test_fourier_series_in_closed_form(field, size, pitch):
    layer, variables = draw(FourierKernel())
    found = jax.jit(filter_function, static_argnums=(0, 3, 4))(layer, variables, field, size, pitch)
    expected = integrate(layer, variables, field, size, pitch)
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(found, expected, atol=3e-5)


def test_gradients_where_phases_vanish(field):
    """A constant and a frequency of zero meet the constant of the filter."""
    layer, variables = draw(FourierKernel())

    @jax.jit
    def loss(frequencies):
        function = dataclasses.replace(field, shared={**field.shared, "frequencies": frequencies})
        return jnp.square(filter_function(layer, variables, function, (2, 3))).sum()

    frequencies = field.shared["frequencies"].at[0].set(0.0)
    assert jnp.isfinite(loss(frequencies))  # Differences of NaN would agree.
    check_grads(loss, (frequencies,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


@pytest.mark.slow
def test_any_other_pair_by_quadrature():
    """It is the layer on a fine rendering, at the centres of the result's pixels."""
    layer, variables = draw(NetworkKernel(target=CosineMLP((8,), channels=3, output="linear")))
    model = PatchHypernetwork(
        EDSR(4, 0),
        CosineMLP((4, 5), footprint=True),
        WindowLayout(size=2, stride=1, overhang=0.0),
        branch_width=4,
        branch_convs=1,
        branch_scale=1.0,
    )
    function = encode_with(model)
    found = filter_function(layer, variables, function, (4, 10), (1.0, 2.0))
    # The fewest odd blocks of pixels of at most 1/4: 5 for a pixel's height, 3 for half its width.
    values = layer.apply(variables, render(function, (4 * 5, 10 * 3)), (1 / 5, 2 / 6))
    np.testing.assert_allclose(found, values[:, 2::5, 1::3], atol=1e-5)
