import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.pixels import mirror_indices


@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_the_border_is_mirrored_like_symmetric_padding(pixels):
    margin = 3 * pixels + 1
    expected = np.pad(np.arange(pixels), margin, mode="symmetric")
    index = np.arange(-margin, pixels + margin)
    np.testing.assert_array_equal(mirror_indices(index, pixels), expected)
    np.testing.assert_array_equal(mirror_indices(jnp.asarray(index), pixels), expected)
