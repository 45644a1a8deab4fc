"""Errors for users, and checks of numeric settings and of installed packages."""

import importlib.util
import math
import re
from typing import Any

REPORT_ADDRESS = "https://github.com/hyperfunc/hyperfunc/issues"
"""Where users report bugs in hyperfunc."""


EXTRAS = {
    "train": (
        "array_record",
        "grain",
        "optax",
        "orbax",
        "requests",
        "tensorboardX",
        "tensorflow_datasets",
    ),
    "eval": ("pywt", "skimage"),
    "cloud": ("fsspec", "gcsfs", "s3fs", "aiohttp", "google"),
    "onnx": ("onnx", "onnxruntime"),
    "ray": ("ray",),
}
"""The modules of the packages that each optional part of the installation brings."""


class UserError(Exception):
    """A failure that a user can cause and can fix.

    Its message is one line: what was wrong, with the offending value, and what to do about it. The
    commands print that line and end with exit code 2, without a traceback. A mistake in a program
    (a wrong shape, a wrong type) is a `ValueError` or a `TypeError` instead.
    """


def check_extra(name: str, purpose: str) -> None:
    """Check that the packages of one of `EXTRAS` are installed, for a purpose such as "training".

    Raises:
        UserError: one of them is missing.
    """
    if any(importlib.util.find_spec(module) is None for module in EXTRAS[name]):
        raise UserError(f"{purpose} needs the extra {name!r}: pip install 'hyperfunc[{name}]'")


def check_range(
    settings: Any, *names: str, least: float | int, most: float | int = math.inf
) -> None:
    """Check that attributes, numbers or tuples of numbers, are finite and in a range.

    Raises:
        ValueError: a number is not.
    """
    for name in names:
        value = getattr(settings, name)
        values = value if isinstance(value, tuple) else (value,)
        if not all(least <= number <= most and math.isfinite(number) for number in values):
            wanted = f"at least {least}" if most == math.inf else f"a number from {least} to {most}"
            raise ValueError(f"{name} {value}: give {wanted}")


def one_line(text: str) -> str:
    """Escape control characters: the name of a file may have them, and a line stays one line."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: repr(match[0])[1:-1], text)
