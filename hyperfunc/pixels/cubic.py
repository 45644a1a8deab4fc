"""Keys' cubic convolution kernel, for NumPy and JAX.

Reference: Keys 1981, "Cubic convolution interpolation for digital image processing", Eq. (15).
"""

from typing import Any


def cubic_kernel(distance: Any) -> Any:
    """Evaluate the kernel with a = -0.5; it is zero outside (-2, 2).

    Args:
        distance: distances from the sample, in pixels; an array of NumPy or of JAX, any shape.
    """
    xp = distance.__array_namespace__()
    x = xp.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return xp.where(x <= 1, near, xp.where(x < 2, far, 0.0))
