"""Measure models: tables of super-resolution and of restoration, and interpolation in weight space.

Results are plain data, ready for JSON, with the figures drawn beside them.
"""

# ruff: noqa: E402  # Without the packages nobody has to wait for the rest.
from hyperfunc.errors import check_extra

check_extra("eval", "evaluation")

from hyperfunc.evaluation.damage import LEVELS, RestorationTask, parse_levels
from hyperfunc.evaluation.methods import Method, bicubic, load_baseline, load_methods
from hyperfunc.evaluation.panels import compare
from hyperfunc.evaluation.reproduction import BATCH_DIVISOR, Reproduction
from hyperfunc.evaluation.reproduction_page import TITLES
from hyperfunc.evaluation.restoration import (
    RestorationTable,
    evaluate_restoration,
    load_restorers,
)
from hyperfunc.evaluation.statistics import (
    FeatureSpace,
    confidence_interval,
    distances,
    frechet_distance,
    gradient_energy,
    rank_of_originals,
)
from hyperfunc.evaluation.super_resolution import PROTOCOL, evaluate_super_resolution
from hyperfunc.evaluation.weight_space import WeightSpace, cross_fade, to_theta, to_vectors
from hyperfunc.evaluation.weight_space_evaluation import (
    evaluate_weight_space,
    open_image_sets,
    summarize,
)

__all__ = [
    "BATCH_DIVISOR",
    "FeatureSpace",
    "LEVELS",
    "Method",
    "PROTOCOL",
    "Reproduction",
    "RestorationTable",
    "RestorationTask",
    "TITLES",
    "WeightSpace",
    "bicubic",
    "compare",
    "confidence_interval",
    "cross_fade",
    "distances",
    "evaluate_restoration",
    "evaluate_super_resolution",
    "evaluate_weight_space",
    "frechet_distance",
    "gradient_energy",
    "load_baseline",
    "load_methods",
    "load_restorers",
    "open_image_sets",
    "parse_levels",
    "rank_of_originals",
    "summarize",
    "to_theta",
    "to_vectors",
]
