import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.networks import CosineMLP, FourierField
from hyperfunc.networks.targets import cosine

KEY = jax.random.key(0)


@functools.partial(jax.jit, static_argnums=0)
def init(target):
    return target.init(KEY)


def points(*shape: int, seed: int = 1) -> jax.Array:
    return jax.random.uniform(jax.random.key(seed), (*shape, 2), minval=-1.0, maxval=1.0)


@functools.partial(jax.jit, static_argnums=0)
def evaluate(target, theta, shared, coords, footprint):
    """Evaluate at many coords [n, 2] with one footprint [2]."""
    prepared = target.prepare(theta, shared)
    return jax.vmap(target.apply, (None, None, 0, None))(prepared, shared, coords, footprint)


# The cosine.


@pytest.mark.parametrize(("largest", "error"), [(10.0, 1e-6), (100.0, 1e-5)])
def test_the_error_of_the_cosine(largest, error):
    x = np.random.default_rng(0).uniform(-largest, largest, size=100_000).astype(np.float32)
    exact = np.cos(x.astype(np.float64))
    np.testing.assert_allclose(jax.jit(cosine)(x), exact, rtol=0, atol=error)
    # The derivative rounds the argument once more.
    first = jax.grad(cosine)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(first))(x), -np.sin(x.astype(np.float64)), rtol=0, atol=2 * error
    )
    second = jax.jit(jax.vmap(jax.grad(first)))
    np.testing.assert_allclose(second(x), -exact, rtol=0, atol=2 * error)


def test_the_cosine_is_continuous_between_its_polynomials():
    halves = np.arange(-20, 21) * np.pi / 2
    x = np.concatenate([np.nextafter(halves.astype(np.float32), side) for side in (-1e9, 1e9)])
    np.testing.assert_allclose(jax.jit(cosine)(x), np.cos(x.astype(np.float64)), atol=4e-6)
    np.testing.assert_allclose(cosine(jnp.float32(0)), 1.0, atol=1e-7)


def test_the_cosine_has_both_modes_of_derivatives():
    x, dx = jnp.linspace(-9.0, 9.0, 7), jnp.arange(7.0)
    value, tangent = jax.jvp(cosine, (x,), (dx,))
    np.testing.assert_allclose(value, jnp.cos(x), atol=1e-6)
    np.testing.assert_allclose(tangent, -jnp.sin(x) * dx, atol=2e-5)
    hessian = jax.hessian(lambda x: cosine(x).sum())(x)
    np.testing.assert_allclose(hessian, -np.diag(np.cos(x)), atol=2e-6)


# The paper's network.


def test_the_size_of_the_papers_network():
    for footprint, parameters in ((False, 35_491), (True, 35_523)):
        shapes = jax.eval_shape(CosineMLP(footprint=footprint).init, KEY)
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters


def test_a_cosine_mlp_equals_its_formula():
    target = CosineMLP(hidden=(4, 5), footprint=True, output="linear")
    theta, shared = init(target)
    coords, footprint = points(6), jnp.array([0.3, 0.6])
    values = evaluate(target, theta, shared, coords, footprint)
    first, second, last = (jax.device_get(theta[f"layer_{i}"]) for i in range(3))
    for coord, value in zip(np.asarray(coords), values, strict=True):
        inputs = np.array([*coord, np.sqrt(0.3 * 0.6)])
        hidden = np.cos(inputs @ first["kernel"] + first["bias"])
        hidden = np.cos(hidden @ second["kernel"] + second["bias"])
        np.testing.assert_allclose(value, hidden @ last["kernel"] + last["bias"], atol=1e-5)
    sigmoid = CosineMLP(hidden=(4, 5), footprint=True)
    np.testing.assert_allclose(
        evaluate(sigmoid, theta, shared, coords, footprint), jax.nn.sigmoid(values), rtol=1e-5
    )


def test_a_gain_of_zero_starts_from_zero():
    target = CosineMLP((4, 5), footprint=True, output="linear", gain=0.0)
    theta, shared = init(target)
    values = evaluate(target, theta, shared, points(6), jnp.ones(2))
    np.testing.assert_array_equal(values, np.zeros((6, 3)))


def test_the_residual_connection_joins_the_layers_of_equal_width():
    coords, footprint = points(5), jnp.ones(2)
    plain = CosineMLP((4, 6, 7, 6), residual=False)
    theta, shared = init(plain)
    values = evaluate(plain, theta, shared, coords, footprint)
    assert (
        np.abs(evaluate(CosineMLP((4, 6, 7, 6)), theta, shared, coords, footprint) - values).max()
        > 1e-3
    )
    # Layers of different widths have no connection.
    plain = CosineMLP((4, 6, 7, 5), residual=False)
    theta, shared = init(plain)
    np.testing.assert_array_equal(
        evaluate(CosineMLP((4, 6, 7, 5)), theta, shared, coords, footprint),
        evaluate(plain, theta, shared, coords, footprint),
    )


def test_a_value_does_not_depend_on_other_points():
    target = CosineMLP((4, 6, 7, 6), normalization="batch")
    theta, shared = init(target)
    coords, footprint = points(20), jnp.ones(2)
    together = evaluate(target, theta, shared, coords, footprint)
    for i in (0, 7):
        alone = evaluate(target, theta, shared, coords[i : i + 1], footprint)[0]
        np.testing.assert_allclose(alone, together[i], atol=1e-5)


def test_batch_normalisation_normalises():
    """Over the reference grid a hidden layer has mean ``bias`` and deviation ``scale``."""
    target = CosineMLP((8, 6), normalization="batch")
    theta, shared = init(target)
    theta["layer_0"]["kernel"] *= 7.0  # Normalisation removes this gain.
    prepared = jax.device_get(jax.jit(target.prepare)(theta, shared))
    ticks = np.linspace(-0.875, 0.875, 8)
    inputs = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    for name in ("layer_0", "layer_1"):
        before = inputs @ prepared[name]["kernel"] + prepared[name]["bias"]
        np.testing.assert_allclose(before.mean(axis=0), theta[name]["bias"], atol=1e-4)
        np.testing.assert_allclose(before.std(axis=0), theta[name]["scale"], rtol=1e-3)
        inputs = np.cos(before)


def test_layers_that_are_not_emitted_are_shared():
    everything = CosineMLP((4, 5))
    some = CosineMLP((4, 5), emitted=(0, 2))
    theta, shared = init(some)
    assert set(theta) == {"layer_0", "layer_2"} and set(shared) == {"layer_1"}
    coords, footprint = points(4), jnp.ones(2)
    np.testing.assert_allclose(
        evaluate(some, theta, shared, coords, footprint),
        evaluate(everything, {**theta, **shared}, {}, coords, footprint),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: CosineMLP(hidden=()), r"\(\)"),
        (lambda: CosineMLP(hidden=(4, 0)), r"\(4, 0\)"),
        (lambda: CosineMLP(hidden=(4, 4), emitted=(3,)), r"\(3,\)"),
        (lambda: FourierField(frequencies=0), "0 frequencies"),
        (lambda: FourierField(bandwidth=-1.0), "-1.0 pi"),
    ],
)
def test_impossible_fields_say_what_is_wrong(make, named):
    with pytest.raises(ValueError, match=named):
        make()


# The field.


@pytest.fixture(scope="module")
def field():
    """Draw a field, its coefficients and its shared parameters."""
    target = FourierField(frequencies=5, bandwidth=2.0)
    theta, shared = init(target)
    theta = {"coefficients": jax.random.normal(KEY, theta["coefficients"].shape)}
    return target, theta, shared


def test_a_field_equals_its_formula(field):
    target, theta, shared = field
    coords, footprint = points(6), jnp.array([0.4, 1.3])
    values = evaluate(target, theta, shared, coords, footprint)
    omega, kappa = np.asarray(shared["frequencies"]), np.exp(shared["log_kappa"])
    real, imaginary, constant = np.split(np.asarray(theta["coefficients"]), [5, 10])
    decay = np.exp(-kappa * ((omega * np.asarray(footprint)) ** 2).sum(axis=1))
    for coord, value in zip(np.asarray(coords), values, strict=True):
        waves = np.exp(1j * omega @ coord) * decay
        expected = (waves @ (real + 1j * imaginary)).real + constant[0]
        np.testing.assert_allclose(value, expected, atol=1e-5)


def test_a_field_is_linear_in_its_coefficients(field):
    target, theta, shared = field
    coords, footprint = points(4, 3), jnp.array([0.4, 1.3])
    basis = target.basis(shared, coords, jnp.broadcast_to(footprint, coords.shape))
    assert basis.shape == (4, 3, target.basis_size)
    values = evaluate(target, theta, shared, coords.reshape(-1, 2), footprint)
    np.testing.assert_allclose(
        jnp.einsum("yxd,dc->yxc", basis, theta["coefficients"]).reshape(-1, 3), values, atol=1e-5
    )


def test_the_axes_factors_multiply_to_the_basis(field):
    target, _, shared = field
    coords, footprint = points(7), jnp.array([[0.4, 1.3]])
    factors = [
        target.axis_basis(shared, axis, coords[:, axis], footprint[:, axis]) for axis in range(2)
    ]
    rows, cols = (np.asarray(real) + 1j * np.asarray(imaginary) for real, imaginary in factors)
    wave = rows * cols
    basis = target.basis(shared, coords, jnp.broadcast_to(footprint, coords.shape))
    np.testing.assert_allclose(basis[:, :5], wave.real[:, :5], atol=1e-5)
    np.testing.assert_allclose(basis[:, 5:10], -wave.imag[:, :5], atol=1e-5)
    np.testing.assert_allclose(basis[:, 10], wave.real[:, 5], atol=1e-5)
    np.testing.assert_allclose(wave.imag[:, 5], 0, atol=1e-6)


def test_the_footprint_averages_over_a_gaussian(field):
    """A footprint a averages over normal offsets of variance 2 kappa a^2 along each axis."""
    target, theta, shared = field
    footprint = np.array([0.5, 1.2])
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    deviation = np.sqrt(2 * np.exp(shared["log_kappa"])) * footprint
    offsets = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1) * deviation
    for coord in np.asarray(points(3)):
        cloud = jnp.asarray(coord + offsets.reshape(-1, 2), jnp.float32)
        sharp = evaluate(target, theta, shared, cloud, jnp.zeros(2))
        mean = np.einsum("n,nc->c", np.outer(weights, weights).ravel(), sharp)
        blurred = evaluate(target, theta, shared, jnp.asarray(coord)[None], jnp.asarray(footprint))
        np.testing.assert_allclose(blurred[0], mean, atol=1e-4)
        assert np.abs(blurred - evaluate(target, theta, shared, coord[None], np.zeros(2))).max() > (
            1e-2
        )


def test_the_footprint_of_an_axis_acts_on_that_axis():
    target = FourierField(frequencies=1)
    shared = {"frequencies": jnp.array([[0.0, 3.0]]), "log_kappa": jnp.zeros(())}  # along x
    theta = {"coefficients": jnp.ones((3, 3))}
    at = lambda *a: evaluate(target, theta, shared, jnp.zeros((1, 2)), jnp.array(a))[0, 0]  # noqa: E731
    np.testing.assert_allclose(at(9.0, 0.5), at(0.0, 0.5), rtol=1e-6)
    np.testing.assert_allclose(at(0.0, 0.5), 1 + np.exp(-(1.5**2)), rtol=1e-5)


def test_initial_frequencies_fill_the_disc():
    target = FourierField(frequencies=2000, bandwidth=3.0)
    theta, shared = init(target)
    radius = np.linalg.norm(shared["frequencies"], axis=1) / (3 * np.pi)
    assert radius.max() <= 1
    np.testing.assert_allclose(np.mean(radius < 0.5), 0.25, atol=0.05)
    np.testing.assert_allclose(np.mean(shared["frequencies"], axis=0) / (3 * np.pi), 0, atol=0.05)
    assert not np.any(theta["coefficients"])


@pytest.mark.parametrize(
    "target",
    [CosineMLP((3, 4, 5, 4), footprint=True, normalization="batch"), FourierField(frequencies=3)],
    ids=lambda target: type(target).__name__,
)
def test_gradients_are_finite(target):
    theta, shared = init(target)
    theta = jax.tree.map(lambda leaf: leaf + 0.1, theta)

    def energy(theta, shared, coord, footprint):
        prepared = target.prepare(theta, shared)
        return jnp.square(target.apply(prepared, shared, coord, footprint)).sum()

    gradient = jax.jit(jax.grad(energy, argnums=(0, 1, 2, 3)))
    for coord in ([0.0, 0.0], [1.0, -1.0]):
        for footprint in ([1.0, 1.0], [0.1, 0.3]):
            values = gradient(theta, shared, jnp.array(coord), jnp.array(footprint))
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(values[:2]))
