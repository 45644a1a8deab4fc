"""Choose the tiles of an image so that images of many sizes share few compiled functions."""

import collections
import itertools
import math
from collections.abc import Sequence
from typing import Any

from hyperfunc.pixels import Axis, integer_scale
from hyperfunc.types import Neighbourhood, Size
from hyperfunc.upscaling.linear_light import is_reduction
from hyperfunc.upscaling.tile_grid import (
    EXTENT_MULTIPLE,
    FIRST_EXTENT_MULTIPLE,
    RENDER_MARGIN,
    Span,
    align,
    choose_largest_tile,
    extend_to_border,
    find_samples,
    place,
    plan_axis,
    plan_rendered,
    round_up,
)
from hyperfunc.upscaling.tiles import TilePlan, TileShape

FULL_TILE_SCALE = 4
"""At larger scales tiles are smaller, so that the output of one takes no more memory than here."""


COMPILATION_PIXELS = 50_000
"""So many pixels are computed in half the time that a function takes to compile. Programs are kept
on disk (`hyperfunc.cache`), so that most runs compile none."""


class TilePlanner:
    """Divides images into tiles of few shapes, so that few functions are compiled.

    ``reads`` is what the hypernetwork reads around a pixel. A tile without its halo has at most
    ``largest_tile`` input pixels along a side, or as many as `choose_largest_tile` says.
    """

    def __init__(
        self,
        reads: Neighbourhood,
        devices: int,
        largest_tile: int | None = None,
        *,
        linear: bool = False,
    ) -> None:
        """Start without shapes that could be shared."""
        self.linear = linear
        self.reads, self.devices = reads, devices
        self.largest_tile = largest_tile or choose_largest_tile(devices)
        self._known: dict[Any, list[TileShape]] = {}
        self._together: dict[Any, list[TileShape]] = {}

    def plan(self, shape: Size, size: Size, parts: int) -> TilePlan:
        """Plan an image, its longer side in ``parts`` at least, unless these were mostly halo.

        The tiles of the first image of a kind (all of one integer scale, for example) fit it
        closely. Later images get tiles of a shape that was planned before, or if none fits, of one
        that more of them can share.
        """
        plan = self._divide(shape, size, parts, FIRST_EXTENT_MULTIPLE)
        known = self._known.setdefault(plan.tile.kind, [])
        if known:
            shared = self._divide(shape, size, parts, EXTENT_MULTIPLE)
            tile = plan.find_smallest(known) or shared.find_smallest(known)
            if tile is not None:
                return plan.with_tiles_of(tile)
            plan = shared
        known.append(plan.tile)
        return plan

    def plan_together(self, images: Sequence[tuple[Size, Size]]) -> list[TilePlan]:
        """Plan small images of which each becomes one tile; tiles of few shapes serve them all.

        The shapes are those of earlier calls, as far as they fit.
        """
        plans = [self._divide(*image, 1, FIRST_EXTENT_MULTIPLE) for image in images]
        shared: dict[TileShape, TileShape] = {}
        for kind in {plan.tile.kind for plan in plans if plan.tile.fixed_steps is None}:
            known = self._together.setdefault(kind, [])
            alike = [plan for plan in plans if plan.tile.kind == kind]
            found = {plan.tile: plan.find_smallest(known) for plan in alike}
            shared |= {tile: smallest for tile, smallest in found.items() if smallest}
            new = _merge(collections.Counter(x.tile for x in alike if not found[x.tile]))
            known += dict.fromkeys(new.values())
            shared |= new
        return [plan.with_tiles_of(shared.get(plan.tile, plan.tile)) for plan in plans]

    def find_halo(self, steps: tuple[float, float]) -> int:
        """Return how many pixels a tile reads beyond its own, wherever aligned tiles may start."""
        # Where the image is reduced, the base averages over more than the receptive field.
        interpolated = math.ceil(2 * max(*steps, 1)) + 1
        read = self.reads.radius + 1, self.reads.base_radius + interpolated
        if self.linear and is_reduction(steps):  # It averages pixels of the image's own size.
            read = (self.find_halo((1.0, 1.0)) + interpolated,)
        halo = max(*read, RENDER_MARGIN + 2)
        return halo + self.reads.alignment - 1

    def _divide(self, shape: Size, size: Size, parts: int, multiple: int) -> TilePlan:
        steps = (shape[0] / size[0], shape[1] / size[1])
        halo = self.find_halo(steps)
        divided = 0 if shape[0] >= shape[1] else 1
        axes = [
            self._cut(
                shape[i],
                steps[i],
                halo,
                parts if i == divided and min(shape) > 2 * halo else 1,
                multiple,
            )
            for i in range(2)
        ]
        (height, rows), (width, cols) = axes
        is_enlarged = max(steps) <= 1
        rendered = (
            plan_rendered(height, rows, multiple) if is_enlarged else height,
            plan_rendered(width, cols, multiple) if is_enlarged else width,
        )
        scale = integer_scale(size, shape)
        if scale is not None:
            count = (rendered[0] * scale, rendered[1] * scale)
        else:
            count = (
                _count_samples(rows, steps[0], multiple),
                _count_samples(cols, steps[1], multiple),
            )
        tile = TileShape(
            extents=(height, width),
            rendered=rendered,
            count=count,
            slots=(Axis(0.0, steps[0], count[0]).slots, Axis(0.0, steps[1], count[1]).slots),
            scale=scale,
            fixed_steps=None if is_enlarged else steps,
            linear=self.linear and is_reduction(steps),
            alignment=self.reads.alignment,
        )
        return TilePlan(shape, size, halo, rows, cols, tile)

    def _cut(
        self, pixels: int, step: float, halo: int, parts: int, multiple: int
    ) -> tuple[int, list[Span]]:
        """Cut an axis: the extent of a tile, and the tiles."""
        largest_output = FULL_TILE_SCALE * choose_largest_tile(self.devices)
        largest = min(self.largest_tile, max(int(largest_output * step), 1))
        extent, spans = plan_axis(pixels, halo, parts=parts, largest=largest, multiple=multiple)
        if multiple >= EXTENT_MULTIPLE and extent > 4 * multiple:
            extent = round_up(extent, 2 * multiple)  # Rounding wastes less of a large tile.
        extent = extend_to_border(extent, pixels, step, multiple)
        extent = align(extent, pixels, self.reads.alignment)
        return extent, place(spans, extent, halo, self.reads.alignment)


def _merge(tiles: collections.Counter[TileShape]) -> dict[TileShape, TileShape]:
    """Merge shapes while a compilation costs more than the pixels that are computed in vain.

    ``tiles`` counts the images that each shape fits closely. Return the shape to take for each.
    """
    merged = {tile: tile for tile in tiles}
    while len(tiles) > 1:
        waste = {}
        for a, b in itertools.combinations(tiles, 2):
            both = a.union(b)
            waste[a, b] = sum(tiles[x] * (both.pixels - x.pixels) for x in (a, b))
        pair = min(waste, key=waste.__getitem__)
        if waste[pair] > COMPILATION_PIXELS:
            break
        both, count = pair[0].union(pair[1]), sum(tiles.pop(x) for x in pair)
        tiles[both] += count
        merged = {tile: both if taken in pair else taken for tile, taken in merged.items()}
    return merged


def _count_samples(spans: list[Span], step: float, multiple: int) -> int:
    """The most output pixels of a tile, rounded up so that images of many sizes share them."""
    samples = (find_samples(span, step) for span in spans)
    return round_up(max(span.stop - span.start for span in samples), multiple)
