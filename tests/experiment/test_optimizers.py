import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hyperfunc.experiment.optimizers import Optimizer
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork

STEPS = 1000


def rates(optimizer: Optimizer, steps: int = STEPS) -> np.ndarray:
    """The learning rate at every step of a run, and at its end."""
    return np.asarray(jax.vmap(optimizer.make_schedule(0.5, steps))(jnp.arange(steps + 1)))


@pytest.mark.parametrize("schedule", ["cosine", "trapezoid"])
def test_a_schedule_rises_to_its_peak_and_falls_to_its_end(schedule):
    values = rates(Optimizer(schedule=schedule, warmup=100, final=0.02))
    assert 0 < values[0] <= 0.5 / 100 * 1.001
    assert (np.diff(values[:101]) > 0).all()
    np.testing.assert_allclose([values[100], values.max(), values[-1]], [0.5, 0.5, 0.01], rtol=1e-4)
    assert (np.diff(values[100:]) <= 1e-7).all()


def test_a_trapezoid_is_flat_until_its_last_part():
    values = rates(Optimizer(schedule="trapezoid", warmup=100, decay=0.3))
    np.testing.assert_allclose(values[100:701], 0.5)
    assert (np.diff(values[700:]) < 0).all()
    np.testing.assert_allclose(np.diff(values[700:], n=2), 0, atol=1e-6)


@pytest.mark.parametrize("decay", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 10, 100, 500])
def test_a_trapezoid_comes_to_its_end_in_short_runs_too(steps, decay):
    optimizer = Optimizer(schedule="trapezoid", warmup=100, decay=decay, final=0.1)
    np.testing.assert_allclose(rates(optimizer, steps)[-1], 0.05, rtol=1e-5)


@pytest.mark.parametrize("schedule", ["cosine", "trapezoid"])
@pytest.mark.parametrize(("steps", "warmup"), [(1, 100), (4, 100), (10, 0)])
def test_short_runs_warm_up_for_half_of_them_at_most(schedule, steps, warmup):
    values = rates(Optimizer(schedule=schedule, warmup=warmup, final=0.1), steps)
    assert np.isfinite(values).all() and (values > 0).all()
    np.testing.assert_allclose(values.max(), 0.5, rtol=1e-6)
    np.testing.assert_allclose(values[-1], 0.05, rtol=1e-5)


@pytest.fixture(scope="module")
def params():
    model = PixelHypernetwork(EDSR(width=16, blocks=1), FourierField(frequencies=3))
    images = np.zeros((1, 8, 8, 3), np.float32)
    return jax.jit(model.init)(jax.random.key(0), images)["params"]


@pytest.fixture(scope="module")
def gradient(params):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)


def first_update(optimizer: Optimizer, params, gradient):
    """The first update of a long run, by name."""
    transformation = optimizer.make(STEPS)
    update = jax.jit(lambda g, p: transformation.update(g, transformation.init(p), p)[0])
    leaves = jax.tree_util.tree_leaves_with_path(update(gradient, params))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def is_hidden(name: str) -> bool:
    """Kernels of spatial convolutions between hidden layers: not the head, not the branch."""
    return name.endswith("['kernel']") and "head" not in name


def test_muon_orthogonalises_hidden_kernels_and_adam_does_the_rest(params, gradient):
    optimizer = Optimizer(learning_rate=0.1, muon_learning_rate=0.02, warmup=1)
    updates = first_update(optimizer, params, gradient)
    hidden = [name for name in updates if is_hidden(name)]
    assert len(hidden) == 3  # block_0_a, block_0_b, tail
    for name, update in updates.items():
        if name in hidden:
            singular = np.linalg.svd(update.reshape(-1, update.shape[-1]), compute_uv=False)
            # Newton-Schulz with Muon's coefficients leaves them within about 0.7 to 1.2.
            assert 0.6 * 0.02 < singular.min() and singular.max() < 1.25 * 0.02
        else:
            # Adam's first step is the sign of the gradient; Nesterov looks ahead by about half.
            assert np.ptp(np.abs(update)) < 1e-3, name
            assert 0.1 <= np.abs(update).mean() < 0.15, name


def test_muon_takes_pointwise_layers_too_but_no_fusion():
    rng = np.random.default_rng(0)
    shapes = {"square": (1, 1, 16, 24), "fusion": (1, 1, 64, 16), "narrow": (1, 1, 16, 8)}
    shapes |= {"spatial": (3, 3, 16, 8), "first": (3, 3, 3, 16)}
    weights = {name: jnp.asarray(rng.normal(size=x), jnp.float32) for name, x in shapes.items()}
    for is_pointwise_too, expected in ((False, {"spatial"}), (True, {"spatial", "square"})):
        optimizer = Optimizer(warmup=1, clip_norm=0.0, muon_pointwise=is_pointwise_too)
        updates = first_update(optimizer, weights, weights)
        # Adam's first steps are all of one size.
        assert {n.strip("[']") for n, x in updates.items() if np.ptp(np.abs(x)) > 2e-3} == expected


def test_stacking_changes_no_update(params, gradient):
    """Each kernel is orthogonalised for itself."""
    whole = first_update(Optimizer(warmup=1, clip_norm=0.0), params, gradient)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        name = jax.tree_util.keystr(path)
        alone = first_update(
            Optimizer(warmup=1, clip_norm=0.0),
            {"leaf": jnp.zeros_like(leaf)},
            {"leaf": leaf},
        )
        np.testing.assert_allclose(whole[name], alone["['leaf']"], rtol=1e-4, atol=1e-6)


def test_updates_go_against_the_gradient(params, gradient):
    for method in ("muon", "adamw"):
        updates = first_update(Optimizer(method=method), params, gradient)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            assert np.vdot(updates[jax.tree_util.keystr(path)], leaf) < 0


@pytest.mark.parametrize("method", ["muon", "adamw"])
def test_weight_decay_shrinks_kernels(params, gradient, method):
    params = jax.tree.map(lambda p: p + 0.1, params)
    optimizer = Optimizer(method=method, learning_rate=0.1, muon_learning_rate=0.1, warmup=1)
    plain = first_update(optimizer, params, gradient)
    decayed = first_update(
        Optimizer(
            method=method,
            learning_rate=0.1,
            muon_learning_rate=0.1,
            warmup=1,
            weight_decay=0.5,
        ),
        params,
        gradient,
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        is_decayed = is_hidden(name) if method == "muon" else leaf.ndim > 1
        expected = -0.1 * 0.5 * np.asarray(leaf) * is_decayed
        np.testing.assert_allclose(decayed[name] - plain[name], expected, atol=1e-5, err_msg=name)


def test_the_gradient_is_clipped_as_a_whole(params, gradient):
    transformation = Optimizer(method="adamw", clip_norm=0.5).make(STEPS)
    state = jax.jit(lambda g, p: transformation.update(g, transformation.init(p), p)[1])(
        gradient, params
    )
    (moments,) = [s.mu for s in jax.tree.leaves(state, is_leaf=is_adam) if is_adam(s)]
    # Adam's first moment is a tenth of the gradient that it was given.
    np.testing.assert_allclose(optax.tree.norm(moments), 0.05, rtol=1e-3)


def is_adam(state) -> bool:
    return isinstance(state, optax.ScaleByAdamState)
