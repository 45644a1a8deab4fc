"""Random pictures and encoded files for tests of files and datasets."""

import io
from typing import Any

import numpy as np
from PIL import Image


def draw(height: int = 20, width: int = 24, seed: int = 0) -> np.ndarray:
    """Draw noise [height, width, 3], uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(image: np.ndarray, suffix: str = "png", **options: Any) -> bytes:
    """Return the bytes of an image file, encoded by Pillow."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format=suffix, **options)
    return file.getvalue()
