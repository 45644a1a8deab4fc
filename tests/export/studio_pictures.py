"""What the command line makes of pictures that the studio saves."""

import math

import numpy as np

from hyperfunc.experiment import load_model
from hyperfunc.upscaling import Upscaler


def enlarge(pixels: np.ndarray, scale: float, checkpoint: str = "sr") -> np.ndarray:
    """What `hyperfunc upscale` makes of a picture, as integers."""
    model = load_model(checkpoint)
    height, width = (math.floor(n * scale + 0.5) for n in pixels.shape[:2])
    return Upscaler(model.network, model.variables)(pixels, (height, width)).astype(int)
