"""The PSNR of held-out images."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.data import Degradation, ImageSource, tasks
from hyperfunc.devices import make_mesh
from hyperfunc.training import Validator


def test_a_model_for_jpegs_is_validated_on_jpegs(tiny_experiment, monkeypatch, draw):
    """A network of zeros gives the bicubic base: worse of what was compressed, always the same."""
    monkeypatch.setattr(tasks, "VALIDATION_SCALES", (2.0,))
    model = tiny_experiment.model
    variables = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
    source = ImageSource("some", ["a"], lambda i: draw(0, (40, 40)))
    mesh = make_mesh(jax.devices()[:1])

    def score(jpeg):
        task = dataclasses.replace(tiny_experiment.task, degradation=Degradation(jpeg=jpeg))
        return Validator(model, task, source, mesh)(variables)[0]["validation/psnr"]

    assert score(0.1) == score(1.0) < score(0.0) - 0.1


def test_a_flat_held_out_image_does_not_hide_the_others(tiny_experiment, monkeypatch):
    """A network of zeros gives the bicubic base: exact on white, and not on noise."""
    monkeypatch.setattr(tasks, "VALIDATION_SCALES", (2.0,))
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    images = [np.full((40, 40, 3), 255, np.uint8), noise]
    model = tiny_experiment.model
    variables = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))

    def score(names):
        source = ImageSource("some", list(names), lambda i: images["ab".index(names[i])])
        scores, _ = Validator(model, tiny_experiment.task, source, make_mesh(jax.devices()[:1]))(
            variables
        )
        return scores["validation/psnr"]

    assert score("a") == 100 and score("b") < 50
    assert score("ab") == pytest.approx((100 + score("b")) / 2)


def test_a_model_that_restores_is_validated_at_fixed_levels(tiny_experiment, draw):
    """A network of zeros gives what it observes: at scale 1 the PSNR is that of the noise."""
    model = tiny_experiment.model
    variables = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
    grey = np.full((192, 192, 3), 128, np.uint8)
    source = ImageSource("some", ["a"], lambda i: grey)
    degradation = Degradation(noise=0.1, blur=0.1, jpeg=0.1)
    task = dataclasses.replace(tiny_experiment.task, scales=(1, 2), degradation=degradation)
    scores, picture = Validator(model, task, source, make_mesh(jax.devices()[:1]))(variables)
    for sigma in (15, 25):
        expected = 20 * np.log10(255 / sigma)
        assert scores[f"validation/psnr_noise{sigma}_x1"] == pytest.approx(expected, abs=0.05)
    assert scores["validation/psnr_clean_x1"] == scores["validation/psnr_clean_x2"] == 100
    named = {name: value for name, value in scores.items() if name != "validation/psnr"}
    assert scores["validation/psnr"] == pytest.approx(np.mean(list(named.values())))
    assert picture is not None and picture.dtype == np.uint8
