"""Experiments: their configuration, presets, optimisers and checkpoints.

A checkpoint carries its experiment as plain data, so that `load_model` needs nothing but its path.
The modules are imported when their names are first used: most users never train.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
