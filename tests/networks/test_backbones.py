"""Properties of single backbones; test_components.py tests what all backbones have in common."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.networks import INFERENCE, RDN, TRAINING, DenseTrunk, InceptionTrunk, VapSR

IMAGES = np.random.default_rng(0).uniform(size=(2, 16, 24, 3)).astype(np.float32)


def convolve(x, layer):
    """Convolve with zero padding, in a loop over the taps of the kernel."""
    kernel, (height, width) = np.asarray(layer["kernel"]), x.shape[1:3]
    half = kernel.shape[0] // 2
    padded = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
    taps = np.ndindex(kernel.shape[:2])
    total = sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in taps)
    return total + np.asarray(layer["bias"])


def test_a_dense_block_reads_all_earlier_layers():
    """Equations (1) to (8) of Zhang et al., written out for two blocks of two layers."""
    model = RDN(width=4, blocks=2, layers=2, growth=3)
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    layers = jax.tree.map(lambda leaf: leaf + 0.01, variables["params"])
    shallow = convolve(IMAGES - 0.5, layers["head_a"])
    block, outputs = convolve(shallow, layers["head_b"]), []
    for i in range(2):
        first = np.maximum(convolve(block, layers[f"block_{i}_0"]), 0)
        dense = np.concatenate([block, first], axis=-1)
        second = np.maximum(convolve(dense, layers[f"block_{i}_1"]), 0)
        dense = np.concatenate([block, first, second], axis=-1)
        block = block + convolve(dense, layers[f"block_{i}_fusion"])
        outputs.append(block)
    fused = convolve(np.concatenate(outputs, axis=-1), layers["fusion_a"])
    expected = shallow + convolve(fused, layers["fusion_b"])
    features = jax.jit(model.apply)({"params": layers}, IMAGES)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_vapsr_multiplies_features_by_features():
    """Blocks of VapSR written out, tap by tap."""
    model = VapSR(width=4, attention_width=6, blocks=2)
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    layers = jax.tree.map(lambda leaf: leaf + 0.01, variables["params"])
    shallow = block = convolve(IMAGES - 0.5, layers["head"])
    outputs = []
    for i in range(2):
        power = np.square(block).mean(axis=-1, keepdims=True)
        scale = np.asarray(layers[f"block_{i}_norm"]["scale"])
        normalised = block / np.sqrt(power + 1e-6) * scale
        wide = np.asarray(jax.nn.gelu(convolve(normalised, layers[f"block_{i}_a"])))
        attention = convolve(wide, layers[f"block_{i}_b"])
        layer = jax.tree.map(np.asarray, layers[f"block_{i}_depthwise"])
        height, width = attention.shape[1:3]
        padded = np.pad(attention, ((0, 0), (2, 2), (2, 2), (0, 0)))
        attention = layer["bias"] + sum(
            padded[:, y : y + height, x : x + width] * layer["kernel"][y, x]
            for y, x in np.ndindex(5, 5)
        )
        block = block + convolve(wide * attention, layers[f"block_{i}_c"])
        outputs.append(block)
    fused = convolve(np.concatenate(outputs, axis=-1), layers["fusion"])
    expected = shallow + convolve(fused, layers["tail"])
    for mode in (INFERENCE, TRAINING):
        apply = jax.jit(functools.partial(model.apply, mode=mode))
        features = apply({"params": layers}, IMAGES)
        np.testing.assert_allclose(features, expected, atol=2e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_inception_trunk_reduces_by_twice_its_stride(stride):
    model = InceptionTrunk(stem_width=2, width=5, stride=stride)
    variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    features = jax.eval_shape(model.apply, variables, IMAGES)
    assert features.shape == (2, 8 // stride, 12 // stride, 5)
    # A checkpoint of one stride fits the other.
    other = jax.eval_shape(model.clone(stride=3 - stride).init, jax.random.key(0), IMAGES)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, other)


@pytest.mark.parametrize("blocks", [0, 2])
def test_an_inception_trunk_without_pooling_keeps_the_resolution(blocks):
    model = InceptionTrunk(stem_width=2, width=5, blocks=blocks, pool=False)
    variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    assert jax.eval_shape(model.apply, variables, IMAGES).shape == (*IMAGES.shape[:3], 5)
    assert len(variables["batch_stats"]) == 4 + 3 * blocks + 1
    assert model.receptive_radius == 3 + 3 * blocks


def test_dense_trunk_reads_the_whole_window():
    model = DenseTrunk(width=7, blocks=2)
    images = jax.random.uniform(jax.random.key(0), (3, 4, 5, 3))
    variables = model.init(jax.random.key(1), images)
    features = model.apply(variables, images)
    assert features.shape == (3, 1, 1, 7)
    reach = jax.jacobian(lambda x: model.apply(variables, x)[0, 0, 0, 0])(images)
    assert (reach[0] != 0).all() and not reach[1:].any()
    with pytest.raises(ValueError, match="DenseTrunk"):
        model.apply(variables, images, mask=jnp.ones((1, 4, 5, 1)))
