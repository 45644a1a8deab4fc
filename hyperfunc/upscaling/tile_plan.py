"""How an image is cut into tiles or strips: geometry on the host, no pixels."""

import dataclasses
import itertools
import math
from typing import Any

from hyperfunc.pixels import WindowLayout
from hyperfunc.types import Size

LARGEST_TILE = 512
"""Side of a tile without its halo, in input pixels, at most; half of it on more than two devices.

So many tiles are in memory at once as there are devices.
"""

LARGEST_SCALE = 4
"""At larger scales tiles are smaller, so that one's output takes no more than at this."""

ROUNDING = 32
"""Sides of tiles are multiples of this, so that images of many sizes share what is compiled."""

FIRST_ROUNDING = 8
"""The same for the first image of a kind, maybe the only one: what is rounded up is lost work."""

MARGIN = 4
"""Windows that are rendered around a tile's own pixels; base and windows reach two pixels far."""

MOST_WASTE = 1.5
"""A compiled shape serves an image whose own tiles have at least 1 / 1.5 of its pixels."""

STRIP_SAMPLES = 2**20
"""Samples, times the windows that each is evaluated in, of a strip at most."""


@dataclasses.dataclass(frozen=True)
class Span:
    """A tile along one axis: renders input pixels [low, high), reads from ``start`` on."""

    low: int
    high: int
    start: int


def choose_largest_tile(devices: int) -> int:
    """`LARGEST_TILE`, or half of it, for so many devices."""
    return LARGEST_TILE if devices <= 2 else LARGEST_TILE // 2


def plan_axis(
    pixels: int, halo: int, parts: int, *, largest: int | None = None, unit: int | None = None
) -> tuple[int, list[Span]]:
    """Cut an axis into at least ``parts`` tiles of equal extent.

    Args:
        pixels: the extent of the image.
        halo: what a tile reads besides its own pixels, on each side.
        parts: the least number of tiles (fewer only if there are fewer pixels).
        largest: own pixels of a tile, at most; `LARGEST_TILE` if not given.
        unit: what extents are rounded up to; `ROUNDING` if not given.

    Returns:
        The extent of a tile with its halo, rounded up, and the tiles.
    """
    parts = max(min(parts, pixels), math.ceil(pixels / (largest or LARGEST_TILE)))
    edges = [round(pixels * i / parts) for i in range(parts + 1)]
    # The image's own border needs no halo.
    starts = [max(edge - halo, 0) for edge in edges[:-1]]
    ends = [min(edge + halo, pixels) for edge in edges[1:]]
    extent = max(end - start for start, end in zip(starts, ends, strict=True))
    extent = round_up(extent, unit)
    spans = [Span(low, high, 0) for low, high in itertools.pairwise(edges)]
    return extent, place(spans, extent, halo)


def place(spans: list[Span], extent: int, halo: int) -> list[Span]:
    """Choose where tiles of ``extent`` begin: none ends beyond the image, unless it is longer."""
    pixels = spans[-1].high
    return [
        dataclasses.replace(span, start=max(min(span.low - halo, pixels - extent), 0))
        for span in spans
    ]


def round_up(pixels: int, unit: int | None = None) -> int:
    """The next multiple of ``unit``, of `ROUNDING` if not given."""
    unit = unit or ROUNDING
    return math.ceil(pixels / unit) * unit


def plan_strips(
    layout: WindowLayout, shape: Size, steps: tuple[float, float], parts: int = 1
) -> tuple[int, list[Span]]:
    """Cut the rows of an image into strips, for a model that reads windows.

    Args:
        layout: the windows.
        shape: (height, width) of the image.
        steps: the pitch of the output, in input pixels, per axis.
        parts: the least number of strips, if the image is much higher than what strips share.

    Returns:
        The number of rows that each strip reads, and the strips. Reading starts at the beginning
        of a window, and only the last strips reach the end, so that they have the windows of the
        whole.
    """
    height, width = shape
    if not layout.size:
        return height, [Span(0, height, 0)]
    stride = layout.stride
    # Reduced, an output pixel averages the base over more than the windows' own neighbourhood.
    halo = round_up(max(layout.size + stride, math.ceil(2 * max(steps)) + 1), stride)
    samples_of_windows = layout.grid((1, width))[1] * layout.size**2 / (steps[0] * steps[1])
    rows = stride * max(int(STRIP_SAMPLES / samples_of_windows), 1)
    if height > 2 * parts * halo:
        rows = min(rows, round_up(math.ceil(height / parts), stride))
    extent = rows + 2 * halo
    extent += (height - extent) % stride
    if extent >= height:
        return height, [Span(0, height, 0)]
    return extent, [
        Span(low, min(low + rows, height), min(max(low - halo, 0), height - extent))
        for low in range(0, height, rows)
    ]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How an image is cut.

    Attributes:
        extents: (height, width) of a tile with its halo, in input pixels.
        kept: (height, width) of the part of it that is rendered, with the tile's own pixels.
        count: (height, width) of what is rendered of a tile, in output pixels.
        steps: the pitch of the output, in input pixels, per axis.
        scale: the scale if it is an integer, the same on both axes.
        slots: samples within a pixel's length, at most, per axis.
        rows: of the tiles.
        cols: of the tiles.
        halo: what a tile reads besides its own pixels, on each side.
    """

    extents: Size
    kept: Size
    count: Size
    steps: tuple[float, float]
    scale: int | None
    slots: Size
    rows: list[Span]
    cols: list[Span]
    halo: int

    @property
    def tiles(self) -> list[tuple[Span, Span]]:
        """Rows and columns of each tile."""
        return list(itertools.product(self.rows, self.cols))

    @property
    def shape(self) -> Size:
        """(height, width) of the image."""
        return self.rows[-1].high, self.cols[-1].high

    @property
    def fixed_steps(self) -> tuple[float, float] | None:
        """The pitch where it has to be compiled in: where the image is reduced."""
        return self.steps if self.scale is None and max(self.steps) > 1 else None

    @property
    def kind(self) -> tuple[Any, ...]:
        """What else of a plan is compiled in, besides shapes."""
        return self.scale, self.fixed_steps, self.slots

    def fits(self, known: "Plan") -> bool:
        """Whether tiles of the shape of another plan serve this one, and waste little."""
        needs, has = ((*plan.extents, *plan.kept, *plan.count) for plan in (self, known))
        return (
            known.kind == self.kind
            and all(a >= b for a, b in zip(has, needs, strict=True))
            and all(map(holds_border, known.extents, self.shape, self.steps))
            and math.prod(known.extents) <= MOST_WASTE * math.prod(self.extents)
        )

    def with_tiles_of(self, known: "Plan") -> "Plan":
        """This plan with tiles of the shape of another one."""
        rows, cols = (
            place(spans, extent, self.halo)
            for spans, extent in zip((self.rows, self.cols), known.extents, strict=True)
        )
        return dataclasses.replace(
            self, extents=known.extents, kept=known.kept, count=known.count, rows=rows, cols=cols
        )


def holds_border(extent: int, pixels: int, step: float) -> bool:
    """Whether tiles along an axis end at the image's border, or far enough beyond.

    They end beyond it where the image is smaller than a tile. What a tile holds beyond the image is
    mirrored, as interpolation at the border needs it; and where a tile ends it mirrors itself,
    which would be once again.

    Args:
        extent: the tiles', in input pixels.
        pixels: the image's.
        step: the pitch of the output, in input pixels.
    """
    return extent <= pixels or extent - pixels >= 2 * max(step, 1)


def extend_to_border(extent: int, pixels: int, step: float, unit: int) -> int:
    """Make tiles longer by some ``unit``, until they hold the border.

    An image that is reduced and smaller than a tile is one that is as long as it is instead.
    """
    if step > 1:
        return min(extent, pixels)
    while not holds_border(extent, pixels, step):
        extent += unit
    return extent


def plan_kept(extent: int, spans: list[Span], unit: int) -> int:
    """How much of a tile of ``extent`` is rendered.

    That is its own pixels and a margin, rounded up, if they are much less: at large scales, whose
    tiles are nearly all halo. Else it is all of it, so that more images share what is compiled.
    """
    kept = round_up(max(span.high - span.low for span in spans) + 2 * MARGIN, unit)
    return kept if MOST_WASTE * kept**2 < extent**2 else extent


def first_kept(span: Span, extent: int, kept: int) -> int:
    """Where in a tile the part that is rendered begins."""
    return min(max(span.low - span.start - MARGIN, 0), extent - kept)


def samples_of(span: Span, step: float) -> tuple[int, int]:
    """First output sample of a tile and their number: those whose centres lie in it."""
    first = math.ceil(span.low / step - 0.5 - 1e-9)
    last = math.ceil(span.high / step - 0.5 - 1e-9)
    return first, last - first
