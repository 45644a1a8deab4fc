"""What `benchmarks.bundle` puts into the package."""

import dataclasses

import jax
import numpy as np

from benchmarks.bundle import average
from hyperfunc import load_model


def test_the_mean_of_runs_is_that_of_their_parameters() -> None:
    model = load_model("faces_small")
    other = dataclasses.replace(model, variables=jax.tree.map(lambda x: 3 * x, model.variables))
    mean = average(model, [other])
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, 2 * y), mean.variables, model.variables)
    assert (mean.step, mean.description) == (model.step, model.description)
    same = average(model, [])
    jax.tree.map(np.testing.assert_array_equal, same.variables, model.variables)
