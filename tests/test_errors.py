"""The check of settings."""

import types

import pytest

from hyperfunc.errors import check_range


def settings(value):
    return types.SimpleNamespace(steps=value)


@pytest.mark.parametrize("value", [1, 5, (1, 5), (2.5,)])
def test_numbers_of_the_range_are_accepted(value):
    check_range(settings(value), "steps", least=1, most=5)


@pytest.mark.parametrize("value", [0, 6, (1, 6), float("nan"), float("inf")])
def test_other_numbers_are_refused_with_the_range(value):
    with pytest.raises(ValueError, match="^steps .*: give a number from 1 to 5$"):
        check_range(settings(value), "steps", least=1, most=5)


def test_a_range_may_have_no_upper_end():
    check_range(settings(10**9), "steps", least=1)
    with pytest.raises(ValueError, match="^steps 0: give at least 1$"):
        check_range(settings(0), "steps", least=1)
    with pytest.raises(ValueError, match="give at least 1"):
        check_range(settings(float("inf")), "steps", least=1)
