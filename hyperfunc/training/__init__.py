"""Training: the loop from an experiment to checkpoints, with validation and logs.

A run that was killed at any moment continues from its newest checkpoint exactly.
"""

# ruff: noqa: E402  # The check precedes the imports that need the packages.
from hyperfunc.errors import check_extra

check_extra("train", "training")

from hyperfunc.training.batches import split_validation
from hyperfunc.training.loop import train
from hyperfunc.training.step import make_init, make_train_step
from hyperfunc.training.validation import Validator

__all__ = ["Validator", "make_init", "make_train_step", "split_validation", "train"]
