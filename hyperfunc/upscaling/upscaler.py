"""Large images in bounded memory, on all devices: encode and render tile by tile.

A tile is a part of the input with a halo as wide as the hypernetwork's receptive field, so that
tiles put together are what the whole would have given. Tiles of an image have one shape, rounded
up to a few sizes, so that few shapes are ever compiled; what a tile has beyond the image is masked
out exactly.

Where a model reads windows of its own instead, tiles are strips whose halo holds every window that
reaches into them.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hyperfunc.devices import AXIS, make_mesh
from hyperfunc.function import cut_windows, encode, render_grid, render_phases
from hyperfunc.networks import Hypernetwork
from hyperfunc.pixels import (
    Axis,
    Samples,
    has_alpha,
    integer_scale,
    largest_value,
    mirror_indices,
    split_positions,
)
from hyperfunc.types import HostPixels, Size
from hyperfunc.upscaling.alpha import through_rgb
from hyperfunc.upscaling.tile_plan import (
    FIRST_ROUNDING,
    LARGEST_SCALE,
    MARGIN,
    ROUNDING,
    Plan,
    Span,
    choose_largest_tile,
    extend_to_border,
    first_kept,
    place,
    plan_axis,
    plan_kept,
    plan_strips,
    round_up,
    samples_of,
)

Progress = Callable[[int, int], None]
"""Is told (tiles done, tiles in all): first with none done, when the model has been compiled."""


class Upscaler:
    """Renders images at any size with one model; compiled functions are kept between images.

    Args:
        model: the hypernetwork.
        variables: its variables.
        devices: on which to work; all if not given.
        largest_tile: side of a tile in input pixels, at most: the smaller, the less memory is
            needed and the more of the work is done twice; `choose_largest_tile` if not given.
            At scales above `LARGEST_SCALE` tiles are smaller.
    """

    def __init__(
        self,
        model: Hypernetwork,
        variables: Any,
        *,
        devices: list[Any] | None = None,
        largest_tile: int | None = None,
    ) -> None:
        """Keep the model on the devices."""
        self.model, self.mesh = model, make_mesh(devices)
        self.largest_tile = largest_tile or choose_largest_tile(self.mesh.size)
        self.variables = jax.device_put(variables, jax.NamedSharding(self.mesh, PartitionSpec()))
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._plans: list[Plan] = []
        self.workspace = 0
        """Memory that the compiled functions need while they run, in bytes, over all devices."""

    def __call__(
        self, image: HostPixels, size: Size, *, progress: Progress | None = None
    ) -> HostPixels:
        """Render an image at ``size`` (height, width).

        Args:
            image: uint8, uint16 or float32, 1 to 4 channels.
            size: of the result.
            progress: is called after each group of tiles.

        Returns:
            The image, with the channels and the dtype of ``image``; integers are rounded and
            clipped, floats are not.

        Raises:
            ValueError: a size below one pixel, or an image of another kind.
        """
        if min(size) < 1 or min(image.shape[:2]) < 1:
            raise ValueError(
                f"cannot render an image of size {image.shape[:2]} at size {size}: both need at "
                "least 1 x 1 pixels"
            )
        is_known = image.dtype in (np.uint8, np.uint16, np.float32)
        if not is_known or image.ndim != 3 or not 1 <= image.shape[2] <= 4:
            raise ValueError(
                "an image must be uint8, uint16 or float32 with 1 to 4 channels, got "
                f"{image.dtype} {image.shape}"
            )
        progress = progress or (lambda done, total: None)
        if not self.model.layout.is_per_pixel:
            return self._strips(image, size, progress)
        result = np.empty((*size, image.shape[2]), image.dtype)
        plan = self.plan(image.shape[:2], size)
        done = 0
        for group in self._groups(image, plan, progress):
            for rows, cols, pixels in group:
                result[rows, cols] = pixels
            done += len(group)
            progress(done, len(plan.tiles))
        return result

    @property
    def compilations(self) -> int:
        """How many functions were compiled so far."""
        return len(self._compiled)

    def count_tiles(self, shape: Size, size: Size) -> int:
        """How many tiles or strips an image of ``shape`` is cut into for ``size``."""
        if self.model.layout.is_per_pixel:
            return len(self.plan(shape, size).tiles)
        return len(self._plan_strips(shape, size)[1])

    def plan(self, shape: Size, size: Size) -> Plan:
        """Cut an image of ``shape`` (height, width) that is to be rendered at ``size``.

        The tiles of the first image of a kind (all of one integer scale, for one) fit it closely.
        Those of others have the shape of what is compiled, or if nothing fits one that more of
        them can share.
        """
        plan = self._cut(shape, size, FIRST_ROUNDING)
        if all(known.kind != plan.kind for known in self._plans):
            return plan
        shared = self._cut(shape, size, ROUNDING)
        return self._fit(plan) or self._fit(shared) or shared

    def _cut(self, shape: Size, size: Size, unit: int) -> Plan:
        steps = (shape[0] / size[0], shape[1] / size[1])
        # Reduced, an output pixel averages the base over more than the model's own neighbourhood.
        halo = max(
            self.model.backbone.receptive_radius + 1, math.ceil(2 * max(steps)) + 1, MARGIN + 2
        )
        worth_dividing = min(shape) > 2 * halo
        parts = self.mesh.size if worth_dividing else 1
        tall = shape[0] >= shape[1]
        largest_output = LARGEST_SCALE * choose_largest_tile(self.mesh.size)
        (height, rows), (width, cols) = (
            plan_axis(
                pixels,
                halo,
                parts if is_longer else 1,
                largest=min(self.largest_tile, max(int(largest_output * step), 1)),
                unit=unit,
            )
            for pixels, step, is_longer in zip(shape, steps, (tall, not tall), strict=True)
        )
        if unit >= ROUNDING:
            height, width = (
                round_up(extent, 2 * unit) if extent > 4 * unit else extent
                for extent in (height, width)
            )
        height, width = (
            extend_to_border(extent, pixels, step, unit)
            for extent, pixels, step in zip((height, width), shape, steps, strict=True)
        )
        rows, cols = place(rows, height, halo), place(cols, width, halo)
        scale = integer_scale(size, shape)
        is_enlarged = max(steps) <= 1
        kept = (
            plan_kept(height, rows, unit) if is_enlarged else height,
            plan_kept(width, cols, unit) if is_enlarged else width,
        )
        if scale:
            count = (kept[0] * scale, kept[1] * scale)
        else:
            # Rounded up, as the extents are, so that images of many sizes share what is compiled.
            most = [
                max(samples_of(span, step)[1] for span in spans)
                for spans, step in ((rows, steps[0]), (cols, steps[1]))
            ]
            count = (round_up(most[0], unit), round_up(most[1], unit))
        slots = (Axis(0.0, steps[0], count[0]).slots, Axis(0.0, steps[1], count[1]).slots)
        return Plan((height, width), kept, count, steps, scale, slots, rows, cols, halo)

    def _fit(self, plan: Plan) -> Plan | None:
        """The plan with tiles of a shape that was compiled before, if little is wasted by that."""
        fitting = [known for known in self._plans if plan.fits(known)]
        if not fitting:
            return None
        return plan.with_tiles_of(min(fitting, key=lambda known: math.prod(known.extents)))

    def _plan_strips(self, shape: Size, size: Size) -> tuple[int, list[Span]]:
        steps = (shape[0] / size[0], shape[1] / size[1])
        return plan_strips(self.model.layout, shape, steps, self.mesh.size)

    def _strips(self, image: HostPixels, size: Size, progress: Progress) -> HostPixels:
        """Render strip by strip, each with the windows that reach into it."""
        result = np.empty((*size, image.shape[2]), image.dtype)
        steps = (image.shape[0] / size[0], image.shape[1] / size[1])
        extent, spans = self._plan_strips(image.shape[:2], size)
        places = [(span.start, *samples_of(span, steps[0])) for span in spans]
        count = max(own for _, _, own in places)
        for i in range(0, len(places), self.mesh.size):
            group = places[i : i + self.mesh.size]
            padded = group + [group[-1]] * (self.mesh.size - len(group))
            parts = np.stack([image[None, start : start + extent] for start, _, _ in padded])
            starts = np.asarray([row * steps[0] - start for start, row, _ in padded], np.float32)
            key = (parts.shape, image.dtype, steps, count, size)
            function = self._compiled.get(key)
            if function is None:
                one_strip = functools.partial(_render_strip, self.model, steps, (count, size[1]))
                function = self._compiled[key] = self._compile(
                    _on_every_device(one_strip, self.mesh, inputs=2), parts, starts
                )
            if not i:
                progress(0, len(places))
            drawn = np.asarray(function(self.variables, parts, starts))
            for (_, row, own), rows in zip(group, drawn, strict=False):
                result[row : row + own] = rows[:own]
            progress(i + len(group), len(places))
        return result

    def _groups(
        self, image: HostPixels, plan: Plan, progress: Progress
    ) -> Iterator[list[tuple[slice, slice, np.ndarray]]]:
        """Work on as many tiles at once as there are devices."""
        places = {pair: self._place(plan, *pair) for pair in plan.tiles}
        is_first = True
        kinds = self._by_kind(image, plan)
        clear = kinds.pop(0, [])
        for channels, tiles in kinds.items():
            waiting: list[tuple[list[tuple[Span, Span]], Any]] = []
            for i in range(0, len(tiles), self.mesh.size):
                group = tiles[i : i + self.mesh.size]
                padded = group + [group[-1]] * (self.mesh.size - len(group))
                inputs = [_read(image[..., :channels], plan, *tile) for tile in padded]
                stacked = [np.stack(arrays) for arrays in zip(*inputs, strict=True)]
                function = self._function(plan, stacked)
                if is_first:
                    progress(0, len(plan.tiles))
                    is_first = False
                # The devices work on this group while the host takes the one before.
                waiting.append((group, function(self.variables, *stacked)))
                if len(waiting) > 1:
                    yield list(self._fetch(image, places, *waiting.pop(0)))
            for group, outputs in waiting:
                yield list(self._fetch(image, places, group, outputs))
        if is_first:  # Nothing at all can be seen.
            progress(0, len(plan.tiles))
        nothing = np.zeros((1, 1, image.shape[2]), image.dtype)
        yield [(*places[tile][:2], nothing) for tile in clear]

    @staticmethod
    def _by_kind(image: HostPixels, plan: Plan) -> dict[int, list[tuple[Span, Span]]]:
        """Sort tiles by the channels to compute: without alpha where opaque, 0 where clear."""
        channels = image.shape[2]
        if not has_alpha(channels):
            return {channels: plan.tiles}
        kinds: dict[int, list[tuple[Span, Span]]] = {}
        opaque = largest_value(image.dtype)
        for row, col in plan.tiles:
            area = tuple(
                slice(span.start, span.start + extent)
                for span, extent in zip((row, col), plan.extents, strict=True)
            )
            alpha = image[area][..., -1]
            is_clear, is_opaque = (alpha <= 0).all(), (alpha >= opaque).all()
            kind = 0 if is_clear else channels - 1 if is_opaque else channels
            kinds.setdefault(kind, []).append((row, col))
        return kinds

    @staticmethod
    def _fetch(
        image: HostPixels, places: dict[Any, Any], group: list[tuple[Span, Span]], outputs: Any
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Cut a group's tiles to what belongs into the result."""
        for tile, pixels in zip(group, np.asarray(outputs), strict=False):
            rows, cols, (top, left) = places[tile]
            pixels = pixels[top:, left:][: rows.stop - rows.start, : cols.stop - cols.start]
            if pixels.shape[2] < image.shape[2]:
                opaque = largest_value(image.dtype)
                alpha = np.full((*pixels.shape[:2], 1), opaque, image.dtype)
                pixels = np.concatenate([pixels, alpha], axis=-1)
            yield rows, cols, pixels

    @staticmethod
    def _place(plan: Plan, row: Span, col: Span) -> tuple[slice, slice, Size]:
        """Where a tile goes in the result, and how much is to be skipped of what is rendered."""
        places, skips = [], []
        for span, step, extent, kept in zip(
            (row, col), plan.steps, plan.extents, plan.kept, strict=True
        ):
            first, count = samples_of(span, step)
            places.append(slice(first, first + count))
            skip = span.low - span.start - first_kept(span, extent, kept)
            skips.append(0 if plan.scale is None else skip * plan.scale)
        return places[0], places[1], (skips[0], skips[1])

    def _function(self, plan: Plan, stacked: list[np.ndarray]) -> Callable[..., Any]:
        key = (plan.kind, plan.kept, stacked[0].dtype, *(array.shape for array in stacked))
        if key not in self._compiled:
            self._plans.append(plan)
            one_tile = functools.partial(_render_tile, self.model, plan)
            self._compiled[key] = self._compile(
                _on_every_device(one_tile, self.mesh, inputs=len(stacked)), *stacked
            )
        return self._compiled[key]

    def _compile(self, function: Any, *arrays: np.ndarray) -> Callable[..., Any]:
        compiled = function.lower(self.variables, *arrays).compile()
        memory = compiled.memory_analysis()
        if memory is not None:
            needs = memory.temp_size_in_bytes + memory.output_size_in_bytes
            self.workspace = max(self.workspace, needs * self.mesh.size)
        return compiled


def _read(image: HostPixels, plan: Plan, row: Span, col: Span) -> tuple[np.ndarray, ...]:
    """A tile's pixels, which of its rows and columns exist, and where its samples lie.

    What is rendered of it begins at ``lows``, and samples are counted from there.
    """
    indices, exists, samples, lows = [], [], [], []
    for i, span in enumerate((row, col)):
        index = span.start + np.arange(plan.extents[i])
        exists.append((index < image.shape[i]).astype(np.float32))
        indices.append(mirror_indices(index, image.shape[i]))
        # A tile's samples are those of the whole, so that it computes the same from the same.
        first, _ = samples_of(span, plan.steps[i])
        cell, fraction = split_positions(0.0, plan.steps[i], first + np.arange(plan.count[i]))
        low = first_kept(span, plan.extents[i], plan.kept[i])
        samples += [cell - np.int32(span.start + low), fraction]
        lows.append(low)
    steps = np.asarray(plan.steps, np.float32)
    return image[np.ix_(*indices)], *exists, *samples, np.asarray(lows, np.int32), steps


def _render_strip(
    model: Hypernetwork,
    steps: tuple[float, float],
    count: Size,
    variables: Any,
    images: jax.Array,
    start: jax.Array,
) -> jax.Array:
    """Render rows from ``start`` on, in pixels of a part of the image (a batch of one)."""
    axes = [Axis(start[0], steps[0], count[0]), Axis(0.0, steps[1], count[1])]
    return through_rgb(
        lambda pixels: render_grid(encode(model, variables, pixels)[0], *axes), images[0], axes
    )


def _render_tile(
    model: Hypernetwork,
    plan: Plan,
    variables: Any,
    images: jax.Array,
    exist_rows: jax.Array,
    exist_cols: jax.Array,
    *samples: jax.Array,
) -> jax.Array:
    """Render one tile (a batch of one)."""
    *ticks, lows, steps = (array[0] for array in samples)
    if plan.scale is not None:
        axes = [Axis(0.0, 1 / plan.scale, count) for count in plan.count]
    elif plan.fixed_steps is not None:
        starts = [ticks[2 * i][0] + ticks[2 * i + 1][0] for i in range(2)]
        axes = [
            Axis(start - step / 2, step, count)
            for start, step, count in zip(starts, plan.fixed_steps, plan.count, strict=True)
        ]
    else:
        axes = [Samples(ticks[2 * i], ticks[2 * i + 1], steps[i], plan.slots[i]) for i in range(2)]

    def draw(pixels: jax.Array) -> jax.Array:
        function, _ = encode(model, variables, pixels, exists=(exist_rows[0], exist_cols[0]))
        for along in range(2):
            function = cut_windows(function, along, lows[along], plan.kept[along])
        if plan.scale is not None:
            return render_phases(function, plan.scale)
        return render_grid(function, *axes)

    return through_rgb(draw, images, axes, origin=(lows[0], lows[1]))


def _on_every_device(
    one_tile: Callable[..., jax.Array], mesh: Mesh, *, inputs: int
) -> Callable[..., jax.Array]:
    """Give each device a tile of its own."""
    data = PartitionSpec(AXIS)
    return jax.jit(
        jax.shard_map(
            one_tile,
            mesh=mesh,
            in_specs=(PartitionSpec(), *[data] * inputs),
            out_specs=data,
            check_vma=False,
        )
    )
