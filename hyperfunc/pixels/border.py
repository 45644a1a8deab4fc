"""The border of an image: it is mirrored there, the border pixel included, as MATLAB does it.

Written in operators only, so that it serves NumPy and JAX alike.
"""

from typing import Any, TypeVar

Indices = TypeVar("Indices")
"""An integer array of NumPy or of JAX."""


def mirror_indices(index: Indices, pixels: Any) -> Indices:
    """Fold pixel numbers beyond [0, pixels) back inside: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ...

    Args:
        index: pixel numbers, any integers.
        pixels: extent of the image along the axis, at least 1; a number, or one for each index.
    """
    rest = index % (2 * pixels)  # type: ignore[operator]
    return rest + (rest >= pixels) * (2 * pixels - 1 - 2 * rest)
