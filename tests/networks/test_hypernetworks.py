"""Properties of single hypernetworks: from features to theta."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.function import encode
from hyperfunc.networks import (
    EDSR,
    CosineMLP,
    FourierField,
    InceptionTrunk,
    PatchHypernetwork,
    PixelHypernetwork,
)
from hyperfunc.networks.hypernetworks import pool_to
from hyperfunc.pixels import WHOLE_IMAGE, WindowLayout

MODEL = PatchHypernetwork(
    EDSR(width=4, blocks=0), CosineMLP((6, 5)), WHOLE_IMAGE, branch_width=8, branch_convs=1, pool=4
)
"""A small model, whose branches end with 4 x 4 x 8 features."""


def test_a_code_bounds_the_rank_of_theta():
    images = np.random.default_rng(0).uniform(size=(12, 8, 8, 3)).astype(np.float32)
    model = MODEL.clone(code=2)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    theta, *_ = jax.jit(model.apply)(variables, images)
    theta, mean = jax.device_get((theta, variables["params"]["mean"]))
    for name, layer in theta.parameters.items():
        leaves = zip(jax.tree.leaves(layer), jax.tree.leaves(mean[name]), strict=True)
        offsets = np.concatenate([(a - b).reshape(12, -1) for a, b in leaves], axis=1)
        values = np.linalg.svd(offsets - offsets.mean(axis=0), compute_uv=False)
        assert (values > 1e-4 * values[0]).sum() == 2  # Twelve images could have rank eleven.


def test_the_number_of_parameters_with_a_code():
    def count(model):
        shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))

    features = 4 * 4 * 8
    emitted = (2 + 1) * 6 + (6 + 1) * 5 + (5 + 1) * 3
    without = count(MODEL)
    for code in (2, 7):
        bottleneck = 3 * (features + 1) * code + code * emitted
        assert count(MODEL.clone(code=code)) == without - features * emitted + bottleneck


def test_a_backbone_without_a_radius_is_refused():
    """Tiles of an image need a radius; a patch hypernetwork reads whole windows."""
    with pytest.raises(ValueError, match="InceptionTrunk has no receptive_radius, which"):
        PixelHypernetwork(InceptionTrunk(), FourierField())
    PatchHypernetwork(InceptionTrunk())


SLIDING = PatchHypernetwork(
    InceptionTrunk(stem_width=4, width=16, pool=False),
    CosineMLP((4, 5)),
    WindowLayout(size=4, stride=2, overhang=1.0),
    branch_width=16,
    branch_convs=2,
    branch_scale=1.0,
    sliding=True,
)


@pytest.mark.parametrize("size", [(40, 41), (41, 40)])
def test_sliding_windows_depend_on_their_pixels_and_the_context(size):
    images = np.random.default_rng(0).uniform(size=(1, *size, 3)).astype(np.float32)
    variables = jax.jit(SLIDING.init)(jax.random.key(0), images)

    @jax.jit
    def emit(images):
        return encode(SLIDING, variables, images)[0].theta.parameters["layer_1"]["kernel"]

    theta = emit(images)
    assert theta.shape == (1, *SLIDING.layout.grid(size), 4, 5)
    other = images.copy()
    other[0, 20, 21] += 0.5
    changed = np.abs(emit(other) - theta).max(axis=(0, 3, 4)) > 0
    axes = changed.any(axis=1), changed.any(axis=0)
    for pixel, has_changed in zip((20, 21), axes, strict=True):
        first = np.arange(len(has_changed)) * 2 - 1  # Of each window's pixels.
        may_change = (first - SLIDING.context <= pixel) & (pixel < first + 4 + SLIDING.context)
        assert not (has_changed & ~may_change).any()
        assert has_changed[(first <= pixel) & (pixel < first + 4)].all()


def test_what_cannot_slide_is_refused():
    with pytest.raises(ValueError, match="InceptionTrunk changes the resolution"):
        SLIDING.clone(backbone=InceptionTrunk())
    with pytest.raises(ValueError, match="cannot slide"):
        SLIDING.clone(layout=WHOLE_IMAGE)
    with pytest.raises(ValueError, match="branch_convs 0"):
        SLIDING.clone(branch_convs=0)


@pytest.mark.parametrize("size", [(8, 8), (7, 13), (6, 4), (3, 9), (4, 4), (2, 3)])
def test_pooling_averages_cells(size):
    features = np.random.default_rng(0).uniform(size=(2, *size, 3)).astype(np.float32)
    cells = [
        [slice(i * n // 4, math.ceil((i + 1) * n / 4)) for i in range(4)]
        if n > 4
        else [slice(i, i + 1) for i in range(n)]
        for n in size
    ]
    expected = [[features[:, y, x].mean(axis=(1, 2)) for x in cells[1]] for y in cells[0]]
    pooled = pool_to(jnp.asarray(features), 4)
    np.testing.assert_allclose(pooled, np.moveaxis(np.asarray(expected), 2, 0), atol=1e-6)
    np.testing.assert_array_equal(pool_to(jnp.asarray(features), 0), features)


def test_larger_images_are_pooled_and_smaller_ones_refused():
    variables = jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))

    def emit(size):
        images = jnp.zeros((1, *size, 3))
        return jax.eval_shape(lambda: encode(MODEL, variables, images)[0].theta)

    shapes = jax.tree.map(lambda leaf: leaf.shape, emit((32, 32)))
    assert jax.tree.map(lambda leaf: leaf.shape, emit((50, 27))) == shapes
    with pytest.raises(ValueError, match="5 x 32 pixels do not fit this model"):
        emit((5, 32))
