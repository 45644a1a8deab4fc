"""Continuous filters: convolutions whose kernel is a function of position, for any pixel pitch.

The same parameters apply to an image at any resolution, and to a functional image directly.
"""

from hyperfunc.filters.convolution import ContinuousConv
from hyperfunc.filters.functional import filter_function
from hyperfunc.filters.kernels import FourierKernel, Kernel, NetworkKernel

__all__ = ["ContinuousConv", "FourierKernel", "Kernel", "NetworkKernel", "filter_function"]
