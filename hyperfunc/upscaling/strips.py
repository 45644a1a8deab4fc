"""Strips of rows: the way to divide images for models that read windows.

A strip reads every window that reaches into its own rows, and starts where a window starts, so that
its windows are those of the whole image.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from hyperfunc.pixels import Axis, WindowLayout
from hyperfunc.types import HostPixels, Size
from hyperfunc.upscaling.alpha import from_rgb, to_rgb
from hyperfunc.upscaling.linear_light import is_reduction, reduce_light
from hyperfunc.upscaling.pieces import Piece, Plan
from hyperfunc.upscaling.tile_grid import Span, find_samples, round_up

if TYPE_CHECKING:
    from hyperfunc.networks import Hypernetwork

MAX_STRIP_EVALUATIONS = 2**20
"""How often target networks are evaluated for one strip, at most: once for each window that covers
each output pixel."""


class StripInputs(NamedTuple):
    """The arguments of a `StripRenderer`."""

    pixels: Any
    start: Any
    """The position in the strip from which rows are rendered, in input pixels."""


@dataclasses.dataclass(frozen=True)
class StripRenderer:
    """Renders one strip of ``count`` (height, width) pixels, ``steps`` input pixels apart."""

    steps: tuple[float, float]
    count: Size
    linear: bool = False

    def __call__(self, model: "Hypernetwork", variables: Any, *inputs: jax.Array) -> jax.Array:
        """Render a strip from `StripInputs`."""
        from hyperfunc.function import encode, render_grid

        images, start = inputs
        rows = Axis(start[0], self.steps[0], self.count[0])
        cols = Axis(0.0, self.steps[1], self.count[1])
        function, _ = encode(model, variables, to_rgb(images))
        if self.linear and images.dtype != np.float32:
            return reduce_light(function, images, (rows, cols), (0, 0))
        return from_rgb(render_grid(function, rows, cols), images, (rows, cols), (0, 0))


@dataclasses.dataclass(frozen=True)
class StripPlan(Plan):
    """An image in strips, of which each reads ``extent`` rows."""

    extent: int
    spans: list[Span]
    linear: bool = False

    @property
    def pieces(self) -> list[Piece]:
        """The strips from top to bottom."""
        cols = slice(0, self.shape[1]), slice(0, self.size[1])
        return [
            Piece((span.reads(self.extent), cols[0]), (find_samples(span, self.steps[0]), cols[1]))
            for span in self.spans
        ]

    @property
    def renderer(self) -> StripRenderer:
        """Renders each of the strips."""
        rows = max(piece.target[0].stop - piece.target[0].start for piece in self.pieces)
        return StripRenderer(self.steps, (rows, self.size[1]), self.linear)

    def read(self, image: HostPixels, piece: Piece) -> StripInputs:
        """Collect a strip's pixels, and where its first sample lies."""
        start = piece.target[0].start * self.steps[0] - piece.source[0].start
        return StripInputs(image[piece.source], np.asarray(start, np.float32))


@dataclasses.dataclass(frozen=True)
class StripPlanner:
    """Divides images into strips.

    Attributes:
        layout: the windows that the model reads.
        context: how many pixels around a window its target network depends on.
        linear: whether reductions average light.
    """

    layout: WindowLayout
    context: int = 0
    linear: bool = False

    def plan(self, shape: Size, size: Size, parts: int) -> StripPlan:
        """Plan an image, in at least ``parts`` strips if it is much higher than their overlap."""
        (height, width), layout = shape, self.layout
        steps = (height / size[0], width / size[1])
        linear = self.linear and is_reduction(steps)
        whole = StripPlan(shape, size, height, [Span(0, height, 0)], linear)
        if not layout.size:
            return whole
        stride = layout.stride
        # Where the image is reduced, the base averages over more than the windows' neighbourhood.
        windows = layout.size + stride + self.context
        averaged = math.ceil(2 * max(steps)) + 1
        halo = round_up(windows + averaged if linear else max(windows, averaged), stride)
        window_samples = layout.size**2 / (steps[0] * steps[1])
        evaluations = layout.grid((1, width))[1] * window_samples
        rows = stride * max(int(MAX_STRIP_EVALUATIONS / evaluations), 1)
        if height > 2 * parts * halo:
            rows = min(rows, round_up(math.ceil(height / parts), stride))
        extent = rows + 2 * halo
        extent += (height - extent) % stride
        if extent >= height:
            return whole
        spans = [
            Span(low, min(low + rows, height), min(max(low - halo, 0), height - extent))
            for low in range(0, height, rows)
        ]
        return StripPlan(shape, size, extent, spans, linear)

    def plan_together(self, images: Sequence[tuple[Size, Size]]) -> list[StripPlan]:
        """Plan small images that are rendered at the same time."""
        return [self.plan(*image, 1) for image in images]
