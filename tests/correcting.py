"""Small models that correct their base, for tests of images in tiles."""

import functools
from typing import Any, Literal

import jax
import numpy as np

from hyperfunc.function import encode, render
from hyperfunc.networks import FourierField, HalfEDSR, PixelHypernetwork


def make_model(base: Literal["corrected", "filled"]) -> PixelHypernetwork:
    """Make a model whose trunk folds squares of pixels."""
    field = FourierField(4, bandwidth=2.0)
    return PixelHypernetwork(HalfEDSR(4, 1, 3, 1), field, base=base, branch_scale=0.3)


def draw_variables(model: PixelHypernetwork) -> Any:
    """Draw variables with a correction: it is zero before the training."""
    variables = jax.jit(model.init)(jax.random.key(1), np.zeros((1, 8, 8, 3), np.float32))
    correction = variables["params"]["correction"]
    correction["kernel"] = 0.3 * jax.random.normal(jax.random.key(2), correction["kernel"].shape)
    return variables


@functools.partial(jax.jit, static_argnames=("model", "size"))
def draw_whole(model, variables, image, size):
    """Render an image in one piece."""
    return render(encode(model, variables, image[None])[0], size)[0]
