"""Networks to compare with: SRCNN and RDN, the paper's, and DnCNN."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.api import represent
from hyperfunc.data import SuperResolution
from hyperfunc.errors import UserError
from hyperfunc.evaluation import bicubic
from hyperfunc.evaluation.methods import make_fixed_scale_method
from hyperfunc.experiment import Experiment, Model
from hyperfunc.networks import RDN, SRCNN, TRAINING, DnCNN, Mode, RDNUpscaler
from hyperfunc.networks.baselines import pixel_shuffle
from hyperfunc.pixels import imresize
from hyperfunc.values import to_unit_range

SMALL_RDN = RDN(width=4, blocks=1, layers=2, growth=3)
YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
"""From RGB in [0, 1] to the change of Y, Cb and Cr, ITU-R BT.601."""


def name_of(network):
    return type(network).__name__


def draw_variables(model, size=(6, 8)):
    return jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *size, 3)))


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (SRCNN(), 57_184 + 97),  # Dong et al. count weights only; 97 are biases.
        (RDNUpscaler(scale=2), 22_123_395),
        (RDNUpscaler(scale=3), 22_308_035),
        (RDNUpscaler(scale=4), 22_271_107),
        # 20 kernels of 3x3; biases of the first and the last, and two vectors for each of 18 norms.
        (DnCNN(), 9 * (3 * 64 + 18 * 64**2 + 64 * 3) + 64 + 3 + 18 * 2 * 64),
    ],
    ids=["SRCNN", "RDN x2", "RDN x3", "RDN x4", "DnCNN"],
)
def test_networks_have_their_published_size(model, parameters):
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == parameters


# SRCNN


def test_srcnn_starts_from_bicubic_interpolation(draw):
    scale = 3
    model = SRCNN(scale=scale, widths=(4, 5))
    variables = draw_variables(model)
    last = variables["params"]["Conv_2"]
    assert last["kernel"].shape == (5, 5, 5, 1) and not np.any(last["bias"])
    last["kernel"] = jnp.zeros_like(last["kernel"])
    image, size = draw(0, (6, 8)), (6 * scale, 8 * scale)
    enlarged = jax.jit(model.apply)(variables, to_unit_range(image)[None])[0]
    expected = imresize(to_unit_range(image), size)
    np.testing.assert_allclose(enlarged, expected, atol=1e-5)
    # MATLAB rounds after each axis, the method only once.
    as_method = make_fixed_scale_method(model, variables)(image, size)
    assert np.abs(as_method.astype(int) - bicubic(image, size)).max() <= 1


def test_srcnn_changes_only_the_luma(draw):
    model = SRCNN(scale=2, widths=(4, 5), sizes=(5, 3, 3))
    variables = draw_variables(model)
    variables = jax.tree.map(lambda leaf: 10 * leaf + 0.01, variables)
    image = to_unit_range(draw(0, (9, 7)))
    change = jax.jit(model.apply)(variables, image[None])[0] - imresize(image, (18, 14))
    luma, *chroma = np.moveaxis(change @ YCBCR.T, -1, 0)
    assert np.abs(luma).max() > 1  # Grey levels.
    np.testing.assert_allclose(chroma, 0, atol=1e-3)
    # The change depends only on the luma of the input: it is the same for a grey image.
    grey = image @ (YCBCR[0] / YCBCR[0].sum()).astype(np.float32)
    grey = np.repeat(grey[..., None], 3, axis=-1)
    other = jax.jit(model.apply)(variables, grey[None])[0] - imresize(grey, (18, 14))
    np.testing.assert_allclose(other, change, atol=1e-4)


# RDN


def test_pixel_shuffle_against_a_loop():
    b, h, w, factor, c = 2, 3, 4, 3, 2
    x = np.arange(b * h * w * factor**2 * c, dtype=np.float32).reshape(b, h, w, -1)
    expected = np.zeros((b, h * factor, w * factor, c), np.float32)
    for y in range(h * factor):
        for z in range(w * factor):
            channel = ((y % factor) * factor + z % factor) * c
            expected[:, y, z] = x[:, y // factor, z // factor, channel : channel + c]
    np.testing.assert_array_equal(pixel_shuffle(jnp.asarray(x), factor), expected)


@pytest.mark.parametrize("scale", [3, 4])  # One and two sub-pixel convolutions.
def test_rdn_enlarges_by_its_scale(scale):
    """Shifting the image by a pixel shifts the result by ``scale`` pixels, except at the border."""
    model = RDNUpscaler(SMALL_RDN, scale=scale)
    image = np.random.default_rng(0).uniform(size=(1, 22, 24, 3)).astype(np.float32)
    variables = draw_variables(model, image.shape[1:3])
    apply = jax.jit(model.apply)
    enlarged, shifted = apply(variables, image), apply(variables, np.roll(image, 1, axis=2))
    assert enlarged.shape == (1, 22 * scale, 24 * scale, 3) and enlarged.dtype == np.float32
    margin = 10 * scale
    np.testing.assert_allclose(
        shifted[:, margin:-margin, margin + scale : -margin],
        enlarged[:, margin:-margin, margin : -margin - scale],
        atol=1e-5,
    )
    assert np.asarray(enlarged).std() > 1e-3


@pytest.mark.parametrize("scale", [0, 1, 5, 8])
def test_rdn_refuses_other_scales(scale):
    with pytest.raises(ValueError, match=f"scale {scale}: .* 2, 3 and 4"):
        RDNUpscaler(scale=scale)


# DnCNN


@pytest.mark.parametrize("is_training", [False, True])
def test_dncnn_against_its_definition(is_training):
    """The image less a chain of convolutions, which are normalised by the batch in training."""
    model = DnCNN(depth=4, width=5)
    images = np.random.default_rng(0).uniform(size=(2, 7, 9, 3)).astype(np.float32)
    variables = model.init(jax.random.key(0), images)
    variables = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.1, variables)
    params, running = variables["params"], variables["batch_stats"]

    def convolve(x, layer):
        kernel = np.asarray(layer["kernel"], np.float64)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        places = [(i, j) for i in range(3) for j in range(3)]
        windows = [
            padded[:, i : i + x.shape[1], j : j + x.shape[2]] @ kernel[i, j] for i, j in places
        ]
        return sum(windows) + np.asarray(layer.get("bias", 0.0))

    x = np.maximum(convolve(images.astype(np.float64), params["Conv_0"]), 0)
    statistics = {}
    for i in range(2):
        x, norm = convolve(x, params[f"Conv_{i + 1}"]), params[f"BatchNorm_{i}"]
        mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        statistics[f"BatchNorm_{i}"] = {"mean": mean, "var": var}
        if not is_training:
            mean, var = running[f"BatchNorm_{i}"]["mean"], running[f"BatchNorm_{i}"]["var"]
        x = (x - mean) / np.sqrt(var + 1e-5) * norm["scale"] + norm["bias"]
        x = np.maximum(x, 0)
    expected = images - convolve(x, params["Conv_3"])
    mode = Mode(batch_statistics=is_training)
    restored, updates = model.apply(variables, images, mode=mode, mutable=["batch_stats"])
    np.testing.assert_allclose(restored, expected, rtol=1e-5, atol=2e-5)
    if is_training:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            updates["batch_stats"],
            statistics,
        )


def test_dncnn_has_the_same_gradients_by_fast_kernels():
    model = DnCNN(depth=4, width=16)
    images = np.random.default_rng(0).uniform(size=(2, 6, 8, 3)).astype(np.float32)
    variables = model.init(jax.random.key(0), images)

    def apply(params, mode):
        both = {**variables, "params": params}
        return model.apply(both, images, mode=mode, mutable=["batch_stats"])[0]

    def gradient(mode):
        loss = jax.jit(jax.grad(lambda params: jnp.square(apply(params, mode) - 0.5).mean()))
        return jax.tree.leaves(loss(variables["params"]))

    plain = Mode(batch_statistics=True)
    for mode, is_fast in ((TRAINING, True), (plain, False)):
        jaxpr = jax.make_jaxpr(lambda params, mode=mode: apply(params, mode))(variables["params"])
        assert ("custom_vjp" in str(jaxpr)) == is_fast
    for ours, theirs in zip(gradient(TRAINING), gradient(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * float(jnp.abs(theirs).max()))


def test_dncnn_starts_near_the_identity(draw):
    image = to_unit_range(draw(0, (24, 24)))[None]
    model = DnCNN()
    restored = jax.jit(model.apply)(draw_variables(model), image)
    assert 0 < np.abs(restored - image).mean() < 0.05


@pytest.mark.parametrize(
    ("settings", "named"), [({"depth": 1}, "depth 1"), ({"width": 0}, "width 0")]
)
def test_dncnn_refuses_settings_out_of_range(settings, named):
    with pytest.raises(ValueError, match=named):
        DnCNN(**settings)


@pytest.mark.parametrize("network", [SRCNN(scale=3), RDNUpscaler(scale=3), DnCNN()], ids=name_of)
def test_a_baseline_makes_no_functional_image(draw, network):
    task = SuperResolution(scales=(network.scale,), protocol_phase=1.0)
    model = Model.of_experiment(Experiment(network, task), {}, step=7, path=Path("runs/some"))
    named = f"runs/some holds {type(network).__name__} for scale {network.scale} only"
    with pytest.raises(UserError, match=named):
        _ = model.hypernetwork
    with pytest.raises(UserError, match=named):
        represent(draw(0, (16, 16)), checkpoint=model)
    other = Model.of_experiment(Experiment(), {}, step=7, path=Path("runs/some"))
    assert other.hypernetwork == Experiment().model
