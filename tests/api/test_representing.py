"""Pictures that are encoded in tiles, by a model whose base is no copy of the picture."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.api import represent, representing
from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment, Model
from hyperfunc.function import encode
from hyperfunc.networks import FourierField, HalfEDSR, PixelHypernetwork
from hyperfunc.upscaling import tile_grid


def make_model(base: str) -> Model:
    network = PixelHypernetwork(HalfEDSR(4, 1), FourierField(4), base=base, branch_scale=1.0)
    variables = network.init(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
    correction = variables["params"]["correction"]  # It is zero before the training.
    correction["kernel"] += 0.3 * jax.random.normal(jax.random.key(2), correction["kernel"].shape)
    return Model.of_experiment(Experiment(model=network), variables, step=0, path=Path("nowhere"))


@pytest.fixture(scope="module")
def model() -> Model:
    return make_model("corrected")


@pytest.mark.parametrize("shape", [(53, 46), (1, 1), (3, 41)], ids=str)
def test_tiles_equal_the_whole(model: Model, monkeypatch, shape) -> None:
    monkeypatch.setattr(tile_grid, "LARGEST_TILE", 20)
    monkeypatch.setattr(tile_grid, "EXTENT_MULTIPLE", 1)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    function = represent(image, checkpoint=model).function
    pixels = image[None].astype(np.float32) / 255
    whole, _ = jax.jit(lambda x: encode(model.hypernetwork, model.variables, x))(pixels)
    np.testing.assert_allclose(function.base, whole.base, atol=2e-6)
    assert np.abs(function.base - pixels).max() > 0.01
    for tiled, expected in zip(
        jax.tree.leaves(function.theta), jax.tree.leaves(whole.theta), strict=True
    ):
        np.testing.assert_allclose(tiled, expected, atol=2e-6)


def test_a_grey_picture_becomes_a_grey_function(model: Model, draw) -> None:
    image = draw(0, (12, 14))[..., :1]
    rendered = np.asarray(represent(image, checkpoint=model).render(30, 30))
    assert np.abs(rendered - rendered[..., :1]).max() < 1e-6


def test_a_mask_alone_chooses_the_model_that_fills(model: Model, draw, monkeypatch) -> None:
    models = {"sr": model, "inpaint": make_model("filled")}
    monkeypatch.setattr(representing, "_load_once", models.__getitem__)
    image, mask = draw(0, (12, 14)), np.zeros((12, 14), bool)
    mask[3:5, 4] = True
    function = represent(image, mask=mask).function
    expected = represent(image, mask=mask, checkpoint=models["inpaint"]).function
    np.testing.assert_array_equal(function.base, expected.base)
    expected = represent(image, checkpoint=model).function
    np.testing.assert_array_equal(represent(image).function.base, expected.base)
    with pytest.raises(ValueError, match="all pixels are missing"):
        represent(image, mask=np.ones_like(mask))


def test_only_a_string_names_a_bundled_model(draw, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="sr"):
        represent(draw(0, (12, 14)), checkpoint=Path("sr"))


def test_a_traced_picture_is_refused_with_what_to_use(model: Model, draw) -> None:
    with pytest.raises(ValueError, match="use hyperfunc.encode"):
        jax.jit(lambda image: represent(image, checkpoint=model).render(scale=1))(draw(0, (4, 4)))
