"""Experiments: their configuration, presets, optimisers and checkpoints.

A checkpoint carries its experiment as plain data, so that `load_model` needs nothing but its path.
"""

from hyperfunc.experiment.bundling import export_model
from hyperfunc.experiment.checkpoints import BUNDLED, Model, init_variables, load_model
from hyperfunc.experiment.config import Experiment, Network, from_plain, to_dict, to_plain
from hyperfunc.experiment.losses import pixel_loss
from hyperfunc.experiment.optimizers import stack_alike
from hyperfunc.experiment.presets import PRESETS, SR
from hyperfunc.experiment.workdir import Workdir, lock_workdir

__all__ = [
    "BUNDLED",
    "Experiment",
    "Model",
    "Network",
    "PRESETS",
    "SR",
    "Workdir",
    "export_model",
    "from_plain",
    "init_variables",
    "load_model",
    "lock_workdir",
    "pixel_loss",
    "stack_alike",
    "to_dict",
    "to_plain",
]
