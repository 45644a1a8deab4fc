"""What a user of the Python package holds: `represent` an image, evaluate it, interpolate two.

The names here are those of ``import hyperfunc``.
"""

from hyperfunc.api.continuous_image import ContinuousImage, load
from hyperfunc.api.interpolating import choose_layers, interpolate, order_layers
from hyperfunc.api.representing import represent

__all__ = ["ContinuousImage", "choose_layers", "interpolate", "load", "order_layers", "represent"]
