"""A small model of whole images, its weight space, and pictures of its size."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from hyperfunc.data import Reconstruction
from hyperfunc.evaluation.weight_space import WeightSpace
from hyperfunc.experiment import Experiment, Model, init_variables
from hyperfunc.networks import EDSR, CosineMLP, PatchHypernetwork
from hyperfunc.pixels import WHOLE_IMAGE

SIDE = 16
PATCHES = PatchHypernetwork(
    EDSR(width=4, blocks=0),
    CosineMLP((6, 5), output="linear"),
    WHOLE_IMAGE,
    branch_width=4,
    branch_convs=1,
    pool=2,
    branch_scale=1.0,  # Images differ although the network is not trained.
)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Model]:
    """Makes a model of a network that is not trained."""

    def make(network):
        experiment = Experiment(model=network, task=Reconstruction(size=SIDE))
        variables = jax.jit(lambda key: init_variables(experiment, key))(jax.random.key(0))
        return Model.of_experiment(experiment, variables, step=7, path=Path("runs/some"))

    return make


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(PATCHES)


@pytest.fixture(scope="module")
def space(model):
    return WeightSpace(model, (SIDE, SIDE))


@pytest.fixture(scope="module")
def faces(draw):
    return np.stack([draw(seed, (SIDE, SIDE)) for seed in range(8)])
