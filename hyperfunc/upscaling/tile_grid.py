"""Cut an image into a grid of overlapping tiles: geometry on the host, no pixels.

A tile has pixels of its own and reads a halo around them. All tiles of an image have one extent,
so that one compiled function serves them all.
"""

import dataclasses
import itertools
import math

from hyperfunc.types import Size

LARGEST_TILE = 512
"""Largest side of a tile without its halo, in input pixels; half of it on more than two devices.

Each device holds one tile in memory.
"""

EXTENT_MULTIPLE = 32
"""Sides of tiles are multiples of this, so that images of many sizes share compiled functions."""

FIRST_EXTENT_MULTIPLE = 8
"""The same for the first image of a kind, which may be the only one: rounding up wastes work."""

RENDER_MARGIN = 2
"""Input pixels that are rendered around a tile's own. Where an image is enlarged, interpolation
reads so many on each side, and windows reach less far."""

LARGEST_WASTE = 1.5
"""Largest ratio of the pixels that are computed to those that an image needs."""


@dataclasses.dataclass(frozen=True)
class Span:
    """One axis of a tile: its own pixels from ``low`` to ``high``, and the first that it reads."""

    low: int
    high: int
    start: int

    @property
    def own(self) -> slice:
        """The tile's own pixels, counted from the first that it reads."""
        return slice(self.low - self.start, self.high - self.start)

    def reads(self, extent: int) -> slice:
        """The pixels that a tile of ``extent`` reads; they may end beyond the image."""
        return slice(self.start, self.start + extent)


@dataclasses.dataclass(frozen=True)
class TileGrid:
    """The tiles of an image: rows crossed with columns; each reads ``extents`` (height, width)."""

    extents: Size
    rows: list[Span]
    cols: list[Span]


def plan_encoding(shape: Size, halo: int, alignment: int = 1) -> TileGrid:
    """Cut an image of ``shape`` (height, width) into tiles that are encoded one after the other.

    The function of the image is that of each tile's own pixels (`Span.own`), put side by side. A
    tile reads ``halo`` pixels on each side of its own, and starts at multiples of ``alignment``.
    """
    halo += alignment - 1
    axes = []
    for pixels in shape:
        # Smaller tiles than those of an `Upscaler`: more images share a compiled function.
        extent, spans = plan_axis(pixels, halo, largest=LARGEST_TILE // 2, multiple=EXTENT_MULTIPLE)
        extent = align(extent, pixels, alignment)
        axes.append((extent, place(spans, extent, halo, alignment)))
    (height, rows), (width, cols) = axes
    return TileGrid((height, width), rows, cols)


def choose_largest_tile(devices: int) -> int:
    """The largest side of a tile on so many devices: see `LARGEST_TILE`."""
    return LARGEST_TILE if devices <= 2 else LARGEST_TILE // 2


def plan_axis(
    pixels: int, halo: int, *, largest: int, multiple: int, parts: int = 1
) -> tuple[int, list[Span]]:
    """Cut an axis into tiles of equal extent, halo included, which are to be placed (`place`).

    There are ``parts`` tiles at least, of at most ``largest`` pixels of their own. The extent is
    rounded up to a ``multiple``.
    """
    parts = max(min(parts, pixels), math.ceil(pixels / largest))
    edges = [round(pixels * i / parts) for i in range(parts + 1)]
    # Nothing is read beyond the border of the image.
    starts = [max(edge - halo, 0) for edge in edges[:-1]]
    ends = [min(edge + halo, pixels) for edge in edges[1:]]
    extent = max(end - start for start, end in zip(starts, ends, strict=True))
    spans = [Span(low, high, 0) for low, high in itertools.pairwise(edges)]
    return round_up(extent, multiple), spans


def align(extent: int, pixels: int, alignment: int) -> int:
    """Lengthen tiles until one that ends with the image starts at a multiple of ``alignment``."""
    return extent + max(pixels - extent, 0) % alignment


def place(spans: list[Span], extent: int, halo: int, alignment: int) -> list[Span]:
    """Choose where tiles of ``extent`` (see `align`) start, at multiples of ``alignment``.

    No tile ends beyond the image unless it is longer. The halo includes ``alignment`` - 1 pixels.
    """
    pixels = spans[-1].high
    starts = [max(min(span.low - halo, pixels - extent), 0) for span in spans]
    return [
        dataclasses.replace(span, start=start - start % alignment)
        for span, start in zip(spans, starts, strict=True)
    ]


def round_up(pixels: int, multiple: int) -> int:
    """Round up to the next multiple."""
    return math.ceil(pixels / multiple) * multiple


def holds_border(extent: int, pixels: int, step: float) -> bool:
    """Whether tiles of ``extent`` end at the border of the image or far enough beyond it.

    A tile that is longer than the image is filled up with mirrored pixels, which interpolation
    reads. It also mirrors a tile where that ends: if this were within its reach of the border,
    pixels would be mirrored twice. ``step`` is the pitch of the output, in input pixels.
    """
    return extent <= pixels or extent - pixels >= 2 * max(step, 1)


def extend_to_border(extent: int, pixels: int, step: float, multiple: int) -> int:
    """Lengthen tiles until they hold the border; where an image is reduced, no tile is longer."""
    if step > 1:
        return min(extent, pixels)
    while not holds_border(extent, pixels, step):
        extent += multiple
    return extent


def plan_rendered(extent: int, spans: list[Span], multiple: int) -> int:
    """How many pixels of the ``extent`` of a tile are rendered.

    Its own and a margin, if these are much fewer: at large scales tiles are nearly all halo.
    Otherwise all, so that more images share a compiled function. A tile with few pixels of its own
    is rounded up to a multiple of these, because each of them becomes many.
    """
    own = max(span.high - span.low for span in spans)
    needed = own + 2 * RENDER_MARGIN
    rendered = min(round_up(needed, multiple), round_up(needed, own))
    return rendered if LARGEST_WASTE * rendered**2 < extent**2 else extent


def rendered_from(span: Span, extent: int, rendered: int) -> int:
    """The first pixel of a tile that is rendered, counted from the first that it reads."""
    return min(max(span.low - span.start - RENDER_MARGIN, 0), extent - rendered)


def find_samples(span: Span, step: float) -> slice:
    """The output pixels of a tile: those whose centres lie in its own pixels."""
    # Rounding must not move a centre that lies on an edge into another tile.
    first, end = (math.ceil(edge / step - 0.5 - 1e-9) for edge in (span.low, span.high))
    return slice(first, end)
