"""What a user of the Python package holds: `represent` an image, evaluate it, interpolate two.

The names here are those of ``import hyperfunc``.
"""

from hyperfunc.api.continuous_image import ContinuousImage
from hyperfunc.api.interpolating import interpolate
from hyperfunc.api.representing import load, represent

__all__ = ["ContinuousImage", "interpolate", "load", "represent"]
