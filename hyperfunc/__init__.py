"""hyperfunc: hypernetworks that turn an image into a continuous function."""

__version__ = "0.1.0"
