"""Tiles: the way to divide images for models with a window per pixel.

A tile reads a halo as wide as the hypernetwork's receptive field, so that tiles put together equal
the image rendered as a whole. What a tile reads beyond the image is masked out exactly.
`hyperfunc.upscaling.tile_planner` chooses the tiles.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from hyperfunc.pixels import OVERSHOOT, Axis, Samples, mirror_indices, split_positions
from hyperfunc.types import HostPixels, Size
from hyperfunc.upscaling.alpha import GAP_RADIUS, from_rgb, to_rgb
from hyperfunc.upscaling.linear_light import reduce_light
from hyperfunc.upscaling.pieces import Piece, Plan
from hyperfunc.upscaling.tile_grid import (
    LARGEST_WASTE,
    Span,
    find_samples,
    holds_border,
    place,
    rendered_from,
)

if TYPE_CHECKING:
    from hyperfunc.networks import Hypernetwork


@dataclasses.dataclass(frozen=True)
class TileShape:
    """What tiles have in common that share a compiled function. Pairs are rows and columns.

    Attributes:
        extents: input pixels that are read, the halo included.
        rendered: input pixels of them that are rendered.
        count: output pixels that are rendered.
        slots: the most output pixels within one input pixel.
        scale: the scale, if it is an integer and the same on both axes.
        fixed_steps: the pitch of the output in input pixels if it is compiled in, which it is where
            images are reduced.
        linear: whether the light of integers is averaged.
        alignment: tiles start at multiples of this, in input pixels.
    """

    extents: Size
    rendered: Size
    count: Size
    slots: Size
    scale: int | None
    fixed_steps: tuple[float, float] | None
    linear: bool = False
    alignment: int = 1

    @property
    def kind(self) -> tuple[Any, ...]:
        """What must be equal for tiles to share a function; the other fields may be larger."""
        # The last tile of an image has to start at a multiple and to end with the image.
        remainders = self.extents[0] % self.alignment, self.extents[1] % self.alignment
        return self.scale, self.fixed_steps, self.slots, remainders

    @property
    def pixels(self) -> int:
        """Input pixels that a tile reads."""
        return math.prod(self.extents)

    def union(self, other: "TileShape") -> "TileShape":
        """The smallest shape of this kind that is at least as large as both."""

        def larger(a: Size, b: Size) -> Size:
            return max(a[0], b[0]), max(a[1], b[1])

        return dataclasses.replace(
            self,
            extents=larger(self.extents, other.extents),
            rendered=larger(self.rendered, other.rendered),
            count=larger(self.count, other.count),
        )


class TileInputs(NamedTuple):
    """The arguments of a `TileRenderer`."""

    pixels: Any
    rows_exist: Any
    """1 for rows of the image, 0 for those beyond it."""
    cols_exist: Any
    row_cells: Any
    """The input row that each output row lies in, counted from the first that is rendered."""
    row_fractions: Any
    """How far into that row it lies, [0, 1]."""
    col_cells: Any
    col_fractions: Any
    rendered_from: Any
    steps: Any
    """The pitch of the output (rows, columns), in input pixels."""


@dataclasses.dataclass(frozen=True)
class TileRenderer:
    """Renders one tile."""

    tile: TileShape

    def __call__(self, model: "Hypernetwork", variables: Any, *inputs: jax.Array) -> jax.Array:
        """Render a tile from `TileInputs`."""
        from hyperfunc.function import cut_windows, encode, render_grid, render_phases

        images, arguments = inputs[0], TileInputs(*(array[0] for array in inputs))
        function, _ = encode(
            model, variables, to_rgb(images), exists=(arguments.rows_exist, arguments.cols_exist)
        )
        for along in range(2):
            function = cut_windows(
                function, along, arguments.rendered_from[along], self.tile.rendered[along]
            )
        axes = self._place_samples(arguments)
        first = (arguments.rendered_from[0], arguments.rendered_from[1])
        if self.tile.linear and images.dtype != np.float32:
            return reduce_light(function, images, axes, first)
        if self.tile.scale is not None:
            rgb = render_phases(function, self.tile.scale)
        else:
            rgb = render_grid(function, *axes)
        radius = GAP_RADIUS if model.base == "filled" else OVERSHOOT.radius
        return from_rgb(rgb, images, axes, first, radius)

    def _place_samples(self, arguments: TileInputs) -> tuple[Axis | Samples, Axis | Samples]:
        """Where the output pixels lie, counted from the first pixel that is rendered."""
        tile = self.tile
        if tile.scale is not None:
            rows, cols = (Axis(0.0, 1 / tile.scale, count) for count in tile.count)
            return rows, cols
        cells = arguments.row_cells, arguments.col_cells
        fractions = arguments.row_fractions, arguments.col_fractions
        if tile.fixed_steps is None:
            rows, cols = (
                Samples(cells[i], fractions[i], arguments.steps[i], tile.slots[i]) for i in range(2)
            )
            return rows, cols
        starts = [cell[0] + fraction[0] for cell, fraction in zip(cells, fractions, strict=True)]
        rows, cols = (
            Axis(start - step / 2, step, count)
            for start, step, count in zip(starts, tile.fixed_steps, tile.count, strict=True)
        )
        return rows, cols


class _PieceAxis(NamedTuple):
    """One axis of a `Piece`."""

    source: slice
    target: slice
    rendered_from: int
    skipped: int


@dataclasses.dataclass(frozen=True)
class TilePlan(Plan):
    """An image in tiles, rows crossed with columns, which read a halo on each side of their own."""

    halo: int
    rows: list[Span]
    cols: list[Span]
    tile: TileShape

    @property
    def renderer(self) -> TileRenderer:
        """Renders each of the tiles."""
        return TileRenderer(self.tile)

    @property
    def pieces(self) -> list[Piece]:
        """The tiles, row by row, except those in the padding."""
        rows, cols = (
            [self._cut(along, span) for span in spans]
            for along, spans in enumerate((self.rows, self.cols))
        )
        return [
            Piece(
                source=(row.source, col.source),
                target=(row.target, col.target),
                rendered_from=(row.rendered_from, col.rendered_from),
                skipped=(row.skipped, col.skipped),
            )
            for row in rows
            for col in cols
            if row.target.start < row.target.stop and col.target.start < col.target.stop
        ]

    def _cut(self, along: int, span: Span) -> _PieceAxis:
        extent, rendered = self.tile.extents[along], self.tile.rendered[along]
        first = rendered_from(span, extent, rendered)
        samples = find_samples(span, self.steps[along])
        margin = self._margin(along)
        target = slice(max(samples.start - margin, 0), min(samples.stop - margin, self.size[along]))
        # At real scales only the tile's own output pixels are rendered.
        skipped = (span.own.start - first) * (self.tile.scale or 0)
        skipped += target.start + margin - samples.start
        return _PieceAxis(span.reads(extent), target, first, skipped)

    def _margin(self, along: int) -> int:
        """The output pixels of the padding before the image."""
        return self.padding[along] * self.size[along] // self.shape[along]

    def read(self, image: HostPixels, piece: Piece) -> TileInputs:
        """Collect a tile's pixels, which of them exist, and where its samples lie."""
        indices, exist, samples = [], [], []
        for i, (source, target) in enumerate(zip(piece.source, piece.target, strict=True)):
            index, pixels = np.arange(source.start, source.stop), image.shape[i]
            indices.append(mirror_indices(index, pixels))
            exist.append((index < pixels).astype(np.float32))
            # Positions are computed in the whole image, so that they round as without tiles. At an
            # integer scale they follow from the tile, and these are not used.
            first = target.start + self._margin(i) - piece.skipped[i]
            cells, fractions = split_positions(
                0.0, self.steps[i], first + np.arange(self.tile.count[i])
            )
            samples += [cells - np.int32(source.start + piece.rendered_from[i]), fractions]
        return TileInputs(
            image[np.ix_(*indices)],
            *exist,
            *samples,
            rendered_from=np.asarray(piece.rendered_from, np.int32),
            steps=np.asarray(self.steps, np.float32),
        )

    def find_smallest(self, known: list[TileShape]) -> TileShape | None:
        """Find the smallest shape of tiles that serves this plan without much waste."""
        fitting = filter(self._fits, known)
        return min(fitting, key=lambda tile: tile.pixels, default=None)

    def _fits(self, tile: TileShape) -> bool:
        needed, given = ((*x.extents, *x.rendered, *x.count) for x in (self.tile, tile))
        return (
            tile.kind == self.tile.kind
            and all(a >= b for a, b in zip(given, needed, strict=True))
            and all(map(holds_border, tile.extents, self.shape, self.steps))
            and tile.pixels <= LARGEST_WASTE * self.tile.pixels
        )

    def with_tiles_of(self, tile: TileShape) -> "TilePlan":
        """Return this plan with tiles of another shape."""
        rows, cols = (
            place(spans, extent, self.halo, tile.alignment)
            for spans, extent in zip((self.rows, self.cols), tile.extents, strict=True)
        )
        return dataclasses.replace(self, rows=rows, cols=cols, tile=tile)
