"""The setting that all examples of a batch share."""

from typing import NamedTuple


class Setting(NamedTuple):
    """The properties that all examples of a batch share."""

    scale: int
    phase: tuple[float, float]
    """(y, x): for super-resolution the shift of the low-resolution grid, in pixels of the target;
    for a reconstruction the first row and column that are compared."""
