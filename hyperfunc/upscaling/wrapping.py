"""Images whose opposite sides meet: textures that repeat, and panoramas of 360 degrees.

Such an image is rendered with pixels of its own other side around it, of which nothing is kept.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from hyperfunc.types import HostPixels, Size
from hyperfunc.upscaling.tile_grid import RENDER_MARGIN
from hyperfunc.upscaling.tile_planner import TilePlanner
from hyperfunc.upscaling.tiles import TilePlan

Wrap = Literal["", "x", "y", "xy"]
"""The axes along which the sides of an image meet."""


@dataclasses.dataclass(frozen=True)
class WrappingPlanner:
    """Divides images whose sides meet into tiles; ``planner`` divides the padded ones."""

    planner: TilePlanner
    wrap: Wrap

    def plan(self, shape: Size, size: Size, parts: int) -> TilePlan:
        """Plan an image of ``shape`` (height, width) that is to be rendered at ``size``."""
        padding, padded_shape, padded_size = self._pad(shape, size)
        plan = self.planner.plan(padded_shape, padded_size, parts)
        return dataclasses.replace(plan, shape=shape, size=size, padding=padding)

    def plan_together(self, images: Sequence[tuple[Size, Size]]) -> list[TilePlan]:
        """Plan small images, given as (shape, size), that are rendered at the same time."""
        paddings, shapes, sizes = zip(*(self._pad(*image) for image in images), strict=True)
        plans = self.planner.plan_together(list(zip(shapes, sizes, strict=True)))
        return [
            dataclasses.replace(plan, shape=shape, size=size, padding=padding)
            for plan, (shape, size), padding in zip(plans, images, paddings, strict=True)
        ]

    def _pad(self, shape: Size, size: Size) -> tuple[Size, Size, Size]:
        """Choose the padding; return it with the padded shape and size."""
        steps = (shape[0] / size[0], shape[1] / size[1])
        reach = self.planner.find_halo(steps) + RENDER_MARGIN
        padding, padded_shape, padded_size = [0, 0], list(shape), list(size)
        for i, axis in enumerate("yx"):
            if axis in self.wrap:
                # In whole pixels of the output, and whole squares that the trunk folds: both lie as
                # without the padding.
                pixels = shape[i] // math.gcd(shape[i], size[i])
                unit = math.lcm(pixels, self.planner.reads.alignment)
                padding[i] = math.ceil(reach / unit) * unit
                padded_shape[i] += 2 * padding[i]
                padded_size[i] += 2 * padding[i] * size[i] // shape[i]
        return (
            (padding[0], padding[1]),
            (padded_shape[0], padded_shape[1]),
            (padded_size[0], padded_size[1]),
        )


def check_wrap(wrap: str) -> None:
    """Refuse other axes than x and y by a ValueError."""
    if wrap not in get_args(Wrap):
        raise ValueError(f'wrap {wrap!r}: give "x", "y", "xy", or "" for none')


def wrap_around(image: HostPixels, padding: Size) -> HostPixels:
    """Put rows and columns of its other side on each side of an image."""
    if padding == (0, 0):
        return image
    return np.pad(image, [(n, n) for n in (*padding, 0)], mode="wrap")
