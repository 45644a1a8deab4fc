"""The range of pixel values: networks see [0, 1], files and batches hold 0 to 255."""

from typing import Any

import numpy as np


def to_unit_range(images: Any) -> Any:
    """Turn uint8 images into float32 in [0, 1]; float images stay as they are.

    Args:
        images: an array of NumPy or JAX.
    """
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images
