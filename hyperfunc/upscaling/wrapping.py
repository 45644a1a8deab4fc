"""Images whose opposite sides meet: textures that repeat, and panoramas of 360 degrees.

Such an image is rendered with pixels of its own other side around it, of which nothing is kept.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from hyperfunc.types import HostPixels, Size
from hyperfunc.upscaling.pieces import Piece, Plan, Renderer
from hyperfunc.upscaling.tile_grid import RENDER_MARGIN
from hyperfunc.upscaling.tile_planner import TilePlanner

Wrap = Literal["", "x", "y", "xy"]
"""The axes along which the sides of an image meet."""


@dataclasses.dataclass(frozen=True)
class WrappedPiece(Piece):
    """The part of a piece of the padded image that lies in the image itself."""

    whole: Piece = dataclasses.field(kw_only=True)


@dataclasses.dataclass(frozen=True)
class WrappedPlan:
    """A plan of the padded image: see `hyperfunc.upscaling.pieces.Plan`.

    Attributes:
        shape: (height, width) of the image.
        size: (height, width) of the result.
        padding: rows and columns that are put on each side of the image.
        padded: the plan of the padded image.
    """

    shape: Size
    size: Size
    padding: Size
    padded: Plan

    @property
    def renderer(self) -> Renderer:
        """Renders each of the pieces."""
        return self.padded.renderer

    @property
    def pieces(self) -> list[WrappedPiece]:
        """The pieces of the padded image, cropped to the image."""
        margins = [
            padding * side // pixels
            for padding, side, pixels in zip(self.padding, self.size, self.shape, strict=True)
        ]
        pieces = []
        for piece in self.padded.pieces:
            spans = [
                (max(target.start, margin), min(target.stop, margin + side))
                for target, margin, side in zip(piece.target, margins, self.size, strict=True)
            ]
            if all(first < end for first, end in spans):
                (top, bottom), (left, right) = spans
                target = (
                    slice(top - margins[0], bottom - margins[0]),
                    slice(left - margins[1], right - margins[1]),
                )
                skipped = (
                    piece.skipped[0] + top - piece.target[0].start,
                    piece.skipped[1] + left - piece.target[1].start,
                )
                parts = piece.source, target, piece.rendered_from, skipped
                pieces.append(WrappedPiece(*parts, whole=piece))
        return pieces

    def read(self, image: HostPixels, piece: Piece) -> tuple[np.ndarray, ...]:
        """Collect the arguments with which a piece of the padded image is rendered."""
        assert isinstance(piece, WrappedPiece)
        return self.padded.read(image, piece.whole)


@dataclasses.dataclass(frozen=True)
class WrappingPlanner:
    """Divides images whose sides meet into tiles.

    Attributes:
        planner: divides the padded images.
        wrap: the axes along which the sides meet.
    """

    planner: TilePlanner
    wrap: Wrap

    def plan(self, shape: Size, size: Size, parts: int) -> WrappedPlan:
        """Plan an image of ``shape`` (height, width) that is to be rendered at ``size``."""
        padding, padded_shape, padded_size = self._pad(shape, size)
        plan = self.planner.plan(padded_shape, padded_size, parts)
        return WrappedPlan(shape, size, padding, plan)

    def plan_together(self, images: Sequence[tuple[Size, Size]]) -> list[WrappedPlan]:
        """Plan small images, given as (shape, size), that are rendered at the same time."""
        paddings, shapes, sizes = zip(*(self._pad(*image) for image in images), strict=True)
        plans = self.planner.plan_together(list(zip(shapes, sizes, strict=True)))
        return [
            WrappedPlan(*image, padding, plan)
            for image, padding, plan in zip(images, paddings, plans, strict=True)
        ]

    def _pad(self, shape: Size, size: Size) -> tuple[Size, Size, Size]:
        """Choose the padding; return it with the padded shape and size."""
        steps = (shape[0] / size[0], shape[1] / size[1])
        reach = self.planner.find_halo(steps) + RENDER_MARGIN
        padding = [0, 0]
        for i, axis in enumerate("yx"):
            if axis in self.wrap:
                # In whole pixels of the output, and whole squares that the trunk folds: both lie as
                # without the padding.
                pixels = shape[i] // math.gcd(shape[i], size[i])
                unit = math.lcm(pixels, self.planner.reads.alignment)
                padding[i] = math.ceil(reach / unit) * unit
        padded_shape, padded_size = (
            (
                side[0] + 2 * padding[0] * side[0] // shape[0],
                side[1] + 2 * padding[1] * side[1] // shape[1],
            )
            for side in (shape, size)
        )
        return (padding[0], padding[1]), padded_shape, padded_size


def check_wrap(wrap: str) -> None:
    """Refuse other axes than x and y.

    Raises:
        ValueError: there are some.
    """
    if wrap not in get_args(Wrap):
        raise ValueError(f'wrap {wrap!r}: give "x", "y", "xy", or "" for none')


def wrap_around(image: HostPixels, padding: Size) -> HostPixels:
    """Put rows and columns of its other side on each side of an image."""
    if padding == (0, 0):
        return image
    return np.pad(image, [(n, n) for n in (*padding, 0)], mode="wrap")
