"""Methods of a table: from a small image and a size to an image of that size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.errors import UserError
from hyperfunc.evaluation.methods import make_fixed_scale_method
from hyperfunc.networks import RDN, SRCNN, RDNUpscaler
from hyperfunc.values import to_unit_range


def test_a_method_is_its_network_rounded(draw):
    model = RDNUpscaler(RDN(width=4, blocks=1, layers=2, growth=3), scale=2)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 6, 8, 3)))
    image, size = draw(0, (6, 8)), (12, 16)
    result = make_fixed_scale_method(model, variables)(image, size)
    expected = np.asarray(jax.jit(model.apply)(variables, to_unit_range(image)[None])[0])
    assert result.shape == (*size, 3) and result.dtype == np.uint8
    assert np.abs(result - 255 * np.clip(expected, 0, 1)).max() <= 0.501


@pytest.mark.parametrize("size", [(18, 24), (12, 15), (11, 16), (16, 12), (6, 8)])
def test_a_network_for_one_scale_refuses_other_sizes(draw, size):
    enlarge = make_fixed_scale_method(SRCNN(scale=2), variables={})
    with pytest.raises(UserError, match=f"scale 2 .* into {size[0]} x {size[1]}: .*--scale=2"):
        enlarge(draw(0, (6, 8)), size)
