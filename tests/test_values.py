import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.values import has_alpha, largest_value, to_integers, to_unit_range


def test_alpha_is_the_second_or_the_fourth_channel():
    assert [channels for channels in (1, 2, 3, 4) if has_alpha(channels)] == [2, 4]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_survives_a_round_trip_through_floats(dtype):
    integers = np.arange(largest_value(dtype) + 1).astype(dtype)
    floats = to_unit_range(integers)
    assert floats.dtype == np.float32 and floats[0] == 0 and floats[-1] == 1
    for result in (to_integers(floats, dtype), to_integers(jnp.asarray(floats), dtype)):
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, integers)


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_integers_are_clipped_and_rounded_half_up(convert):
    floats = convert(np.float32([-1.0, 0.49, 0.5, 1.5, 253.5, 254.49, 400.0]) / 255)
    np.testing.assert_array_equal(to_integers(floats, np.uint8), [0, 0, 1, 2, 254, 254, 255])


def test_integers_are_the_same_when_traced():
    floats = np.random.default_rng(0).uniform(-0.1, 1.1, 1000).astype(np.float32)
    traced = jax.jit(lambda values: to_integers(values, np.uint16))(floats)
    np.testing.assert_array_equal(traced, to_integers(floats, np.uint16))


def test_the_largest_value_of_floats_is_one():
    assert [largest_value(dtype) for dtype in (np.uint8, np.uint16, np.float32)] == [255, 65535, 1]
