"""The border of an image: beyond it the image is mirrored, the border pixel included, as in MATLAB.

The functions use operators only, so that they serve NumPy and JAX.
"""

from typing import Any, TypeVar

Indices = TypeVar("Indices")
"""An integer array of NumPy or of JAX."""


def mirror_indices(index: Indices, pixels: Any) -> Indices:
    """Fold pixel numbers outside [0, pixels) back inside: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...

    Args:
        index: pixel numbers, any integers.
        pixels: extent of the image along the axis, at least 1; one number, or one for each index.
    """
    rest = index % (2 * pixels)  # type: ignore[operator]
    return rest + (rest >= pixels) * (2 * pixels - 1 - 2 * rest)
