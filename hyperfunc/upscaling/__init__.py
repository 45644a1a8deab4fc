"""Whole photographs in bounded memory: tiles, alpha, and batches of files.

An `Upscaler` renders one image piece by piece; a `Batch` of files is planned first and then run.
"""

from hyperfunc.upscaling.batch_files import describe_counts, pair_files
from hyperfunc.upscaling.batch_plan import Batch, Request, plan_batches
from hyperfunc.upscaling.batch_progress import print_above_bar
from hyperfunc.upscaling.batch_run import run_batches
from hyperfunc.upscaling.batch_summary import advise, advise_against_noise
from hyperfunc.upscaling.missing import Mask, mark_missing
from hyperfunc.upscaling.on_ray import run_on_ray
from hyperfunc.upscaling.places import check_places
from hyperfunc.upscaling.records import Records, append_record
from hyperfunc.upscaling.tally import Tally
from hyperfunc.upscaling.tile_grid import plan_encoding
from hyperfunc.upscaling.upscaler import Upscaler

__all__ = [
    "Batch",
    "Mask",
    "Records",
    "Request",
    "Tally",
    "Upscaler",
    "advise",
    "advise_against_noise",
    "append_record",
    "check_places",
    "describe_counts",
    "mark_missing",
    "pair_files",
    "plan_batches",
    "plan_encoding",
    "print_above_bar",
    "run_batches",
    "run_on_ray",
]
