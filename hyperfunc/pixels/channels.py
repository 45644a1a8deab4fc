"""The channels of an image and the range of its values.

Images have 1 to 4 channels: grey, grey with alpha, RGB, RGBA. They are uint8 (0 to 255), uint16
(0 to 65535) or float32 (nominally [0, 1]).
"""

from typing import Any, TypeVar

import numpy as np
from jax.typing import DTypeLike

Values = TypeVar("Values")
"""An array of NumPy or of JAX."""


def has_alpha(channels: int) -> bool:
    """Whether the last of so many channels is alpha."""
    return channels in (2, 4)


def largest_value(dtype: DTypeLike) -> int:
    """The value of white and of full opacity: 255, 65535, or 1 for floats."""
    return 1 if np.issubdtype(dtype, np.floating) else np.iinfo(np.dtype(dtype)).max


def to_integers(values: Values, dtype: DTypeLike) -> Values:
    """Map [0, 1] to the whole range of an unsigned integer type.

    Values are clipped and rounded half up.

    Args:
        values: an array of floats, NumPy's or JAX'.
        dtype: uint8 or uint16.
    """
    floats: Any = values
    # No value is negative once it is clipped, so the conversion, which truncates, rounds half up.
    return (floats.clip(0, 1) * largest_value(dtype) + 0.5).astype(dtype)
