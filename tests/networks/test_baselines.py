"""The baselines of the paper: SRCNN and RDN."""

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
from hyperfunc.networks import RDN, SRCNN, RDNUpscaler
from hyperfunc.networks.baselines import pixel_shuffle
from hyperfunc.pixels import imresize
from hyperfunc.values import to_unit_range

SMALL_RDN = RDN(width=4, blocks=1, layers=2, growth=3)
YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
"""From RGB in [0, 1] to the change of Y, Cb and Cr, ITU-R BT.601."""


def draw_variables(model, size=(6, 8)):
    return jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *size, 3)))


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (SRCNN(), 57_184 + 97),  # Dong et al. count weights only; 97 are biases.
        (RDNUpscaler(scale=2), 22_123_395),
        (RDNUpscaler(scale=3), 22_308_035),
        (RDNUpscaler(scale=4), 22_271_107),
    ],
    ids=["SRCNN", "RDN x2", "RDN x3", "RDN x4"],
)
def test_networks_have_their_published_size(model, parameters):
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters


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


@pytest.mark.parametrize("network", [SRCNN(scale=3), RDNUpscaler(scale=3)], ids=["SRCNN", "RDN"])
def test_a_baseline_makes_no_functional_image(draw, network):
    task = SuperResolution(scales=(3,), protocol_phase=1.0)
    model = Model.of_experiment(Experiment(network, task), {}, step=7, path=Path("runs/some"))
    named = f"runs/some holds {type(network).__name__} for scale 3 only"
    with pytest.raises(UserError, match=named):
        _ = model.hypernetwork
    with pytest.raises(UserError, match=named):
        represent(draw(0, (16, 16)), checkpoint=model)
    other = Model.of_experiment(Experiment(), {}, step=7, path=Path("runs/some"))
    assert other.hypernetwork == Experiment().model
