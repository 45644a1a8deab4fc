"""Floats outside [0, 1]: networks see their own range as [0, 1]."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hyperfunc.types import HostPixels
from hyperfunc.values import split_alpha


class ValueRange(NamedTuple):
    """The range of an image's colours; (0, 1) for integers, and for floats that keep to it."""

    low: float
    high: float

    @classmethod
    def of(cls, pixels: HostPixels) -> "ValueRange":
        """Find the range of an image."""
        if pixels.dtype != np.float32:
            return cls(0.0, 1.0)
        colours, _ = split_alpha(pixels)
        return cls(min(float(colours.min()), 0.0), max(float(colours.max()), 1.0))

    def to_unit(self, pixels: HostPixels) -> HostPixels:
        """Map an image from this range to [0, 1]."""
        return self._map(pixels, lambda colours: (colours - self.low) / (self.high - self.low))

    def from_unit(self, pixels: HostPixels) -> HostPixels:
        """Map an image from [0, 1] to this range."""
        return self._map(pixels, lambda colours: colours * (self.high - self.low) + self.low)

    def _map(self, pixels: HostPixels, function: Callable[[np.ndarray], np.ndarray]) -> HostPixels:
        if self == (0.0, 1.0):
            return pixels
        pixels = pixels.copy()
        colours, _ = split_alpha(pixels)
        colours[:] = function(colours)
        return pixels
