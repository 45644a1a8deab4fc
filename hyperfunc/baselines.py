"""What the hypernetwork is compared with: functions (low-resolution image, size) -> image."""

from hyperfunc.resize import imresize
from hyperfunc.types import HostImage, Size


def bicubic(image: HostImage, size: Size) -> HostImage:
    """MATLAB's bicubic interpolation."""
    return imresize(image, size)
