"""Training: the loop from an experiment to checkpoints, with validation and logs.

A run that was killed at any moment goes on from its newest checkpoint as if nothing had happened.
"""

from hyperfunc.training.loop import make_init, make_train_step, split_validation, train
from hyperfunc.training.validation import Validator

__all__ = ["Validator", "make_init", "make_train_step", "split_validation", "train"]
