"""What a training run is, and what it leaves: configuration, presets, optimiser, checkpoints.

A checkpoint carries its experiment as plain data, so that a path is all that a reader needs.
"""

from hyperfunc.experiment.checkpoints import (
    BUNDLED,
    Model,
    Workdir,
    claiming,
    export_model,
    init_variables,
    load_model,
)
from hyperfunc.experiment.config import Experiment, Network, from_plain, to_dict, to_plain
from hyperfunc.experiment.losses import pixel_loss
from hyperfunc.experiment.optimizers import stack_alike
from hyperfunc.experiment.presets import PRESETS, SR

__all__ = [
    "BUNDLED",
    "Experiment",
    "Model",
    "Network",
    "PRESETS",
    "SR",
    "Workdir",
    "claiming",
    "export_model",
    "from_plain",
    "init_variables",
    "load_model",
    "pixel_loss",
    "stack_alike",
    "to_dict",
    "to_plain",
]
