"""Whole photographs in bounded memory: tiles, alpha, and batches of files.

An `Upscaler` renders one image tile by tile; a `Batch` is planned first and then run.
"""

from hyperfunc.upscaling.batch_plan import Batch, Request, plan
from hyperfunc.upscaling.batch_run import advise, describe, print_above_bar, run_batch
from hyperfunc.upscaling.tile_plan import LARGEST_TILE, plan_axis
from hyperfunc.upscaling.upscaler import Upscaler

__all__ = [
    "LARGEST_TILE",
    "Batch",
    "Request",
    "Upscaler",
    "advise",
    "describe",
    "plan",
    "plan_axis",
    "print_above_bar",
    "run_batch",
]
