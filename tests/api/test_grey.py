"""Grey pictures become grey functions, whose values are the means of the channels."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.api import load, represent
from hyperfunc.experiment import Experiment, Model
from hyperfunc.function import encode, render
from hyperfunc.images import to_uint8
from hyperfunc.networks import EDSR, CosineMLP, FourierField, PatchHypernetwork, PixelHypernetwork
from hyperfunc.pixels import WindowLayout

LINEAR = CosineMLP(hidden=(4, 6), output="linear")
NETWORKS = {
    "fields": PixelHypernetwork(EDSR(8, 1), FourierField(4), branch_scale=0.3),
    "windows": PatchHypernetwork(EDSR(4, 0), LINEAR, WindowLayout(8, 4), pool=2, branch_scale=1.0),
    "a shared last layer": PixelHypernetwork(
        EDSR(4, 1),
        CosineMLP(hidden=(4, 6), output="linear", emitted=(0, 1)),
        branch_scale=0.5,
    ),
}


@pytest.mark.parametrize(
    "name",
    ["fields", *(pytest.param(name, marks=pytest.mark.slow) for name in [*NETWORKS][1:])],
)
def test_the_values_of_a_grey_picture_are_means(name, draw, tmp_path):
    network = NETWORKS[name]
    variables = jax.jit(network.init)(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
    model = Model.of_experiment(Experiment(model=network), variables, step=0, path=Path("nowhere"))
    grey = draw(0, (20, 24))[..., :1]
    f = represent(grey, checkpoint=model)
    f.save(tmp_path / "f.hfn")
    for values in (f.render(30, 36, clip=False), load(tmp_path / "f.hfn").render(30, 36)):
        levels = to_uint8(np.asarray(values))
        assert (levels == levels[..., :1]).all()
    pixels = jnp.asarray(np.repeat(grey, 3, axis=-1)[None])
    tinted = render(encode(network, variables, pixels)[0], (30, 36))[0]
    assert jnp.ptp(tinted, axis=-1).max() > 0.01
    means = np.broadcast_to(tinted.mean(axis=-1, keepdims=True), tinted.shape)
    np.testing.assert_allclose(f.render(30, 36, clip=False), means, atol=1e-5)


@pytest.mark.parametrize("name", ["sr", "sr_jpeg", "restore", "inpaint", "sr_paper"])
def test_bundled_models_keep_grey(name, draw):
    picture = draw(3, (24, 20))
    levels = to_uint8(np.asarray(represent(picture[..., 0], checkpoint=name).render(scale=2)))
    assert (levels == levels[..., :1]).all()
    colours = to_uint8(np.asarray(represent(picture, checkpoint=name).render(scale=2)))
    assert (colours != colours[..., :1]).any()
