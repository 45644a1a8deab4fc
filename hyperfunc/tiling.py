"""Large images in bounded memory, on all devices: encode and render tile by tile.

A tile is a part of the input with a halo as wide as the hypernetwork's receptive field, so that
tiles put together are what the whole would have given. Tiles of an image have one shape, rounded
up to a few sizes, so that few shapes are ever compiled; what a tile has beyond the image is masked
out exactly.

Images have 1 to 4 channels (grey, grey + alpha, RGB, RGBA; alpha is straight, not premultiplied)
and are uint8 (0..255), uint16 (0..65535) or float32 (nominally [0, 1]). The models see RGB: grey
becomes R = G = B and is averaged back. With alpha, the colour multiplied by alpha and alpha as a
grey image go through the model as two images, so that the unseen colour of transparent pixels
leaves no fringe.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hyperfunc.border import mirror_indices
from hyperfunc.coords import Axis
from hyperfunc.functional_image import encode, render, render_grid, render_phases
from hyperfunc.hypernetwork import Hypernetwork
from hyperfunc.sharding import AXIS, make_mesh
from hyperfunc.types import HostPixels, Size

LARGEST_TILE = 256
"""Side of a tile without its halo, in input pixels, at most."""

LARGEST_OUTPUT = 1024
"""Side of a tile without its halo, in output pixels, at most: large scales get smaller tiles."""

ROUNDING = 32
"""Sides of tiles are multiples of this."""

ALPHA_REACH = 2
"""Alpha stays between its smallest and largest value within so many input pixels."""

Progress = Callable[[int, int], None]
"""Is told (tiles done, tiles in all): first with none done, when the model has been compiled."""


@dataclasses.dataclass(frozen=True)
class Span:
    """A tile along one axis: renders input pixels [low, high), reads from ``start`` on."""

    low: int
    high: int
    start: int


def plan_axis(
    pixels: int, halo: int, parts: int, *, largest: int | None = None
) -> tuple[int, list[Span]]:
    """Cut an axis into at least ``parts`` tiles of equal extent.

    Args:
        pixels: the extent of the image.
        halo: what a tile reads besides its own pixels, on each side.
        parts: the least number of tiles (fewer only if there are fewer pixels).
        largest: own pixels of a tile, at most; `LARGEST_TILE` if not given.

    Returns:
        The extent of a tile with its halo, rounded up, and the tiles.
    """
    parts = max(min(parts, pixels), math.ceil(pixels / (largest or LARGEST_TILE)))
    edges = [round(pixels * i / parts) for i in range(parts + 1)]
    # The image's own border needs no halo.
    starts = [max(edge - halo, 0) for edge in edges[:-1]]
    ends = [min(edge + halo, pixels) for edge in edges[1:]]
    extent = max(end - start for start, end in zip(starts, ends, strict=True))
    extent = math.ceil(extent / ROUNDING) * ROUNDING
    return extent, [Span(*span) for span in zip(edges[:-1], edges[1:], starts, strict=True)]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How an image is cut.

    Attributes:
        extents: (height, width) of a tile with its halo, in input pixels.
        count: (height, width) of what is rendered of a tile, in output pixels.
        steps: the pitch of the output, in input pixels, per axis.
        scale: the scale if it is an integer, the same on both axes.
        tiles: rows and columns of each tile.
    """

    extents: Size
    count: Size
    steps: tuple[float, float]
    scale: int | None
    tiles: list[tuple[Span, Span]]


class Upscaler:
    """Renders images at any size with one model; compiled functions are kept between images.

    Args:
        model: the hypernetwork.
        variables: its variables.
        devices: on which to work; all if not given.
        largest_tile: side of a tile in input pixels, at most: the smaller, the less memory is
            needed and the more of the work is done twice; `LARGEST_TILE` if not given.
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
        self.model, self.mesh, self.largest_tile = model, make_mesh(devices), largest_tile
        self.variables = jax.device_put(variables, jax.NamedSharding(self.mesh, PartitionSpec()))
        self._compiled: dict[Any, Callable[..., Any]] = {}
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
        if image.dtype not in (np.uint8, np.uint16, np.float32) or not 1 <= image.shape[2] <= 4:
            raise ValueError(
                "an image must be uint8, uint16 or float32 with 1 to 4 channels, got "
                f"{image.dtype} {image.shape}"
            )
        progress = progress or (lambda done, total: None)
        if not self.model.layout.is_per_pixel:
            return self._whole(image, size, progress)
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

    def plan(self, shape: Size, size: Size) -> Plan:
        """Cut an image of ``shape`` (height, width) that is to be rendered at ``size``."""
        steps = (shape[0] / size[0], shape[1] / size[1])
        # Reduced, an output pixel averages the base over more than the model's own neighbourhood.
        halo = max(self.model.backbone.receptive_radius + 1, math.ceil(2 * max(steps)) + 1)
        worth_dividing = min(shape) > 2 * halo
        parts = self.mesh.size if worth_dividing else 1
        tall = shape[0] >= shape[1]
        largest = self.largest_tile or LARGEST_TILE
        (height, rows), (width, cols) = (
            plan_axis(
                pixels,
                halo,
                parts if is_longer else 1,
                largest=min(largest, max(int(LARGEST_OUTPUT * step), 1)),
            )
            for pixels, step, is_longer in zip(shape, steps, (tall, not tall), strict=True)
        )
        scale = round(1 / steps[0])
        is_integer = all(scale * n == out for n, out in zip(shape, size, strict=True))
        if is_integer:
            count = (height * scale, width * scale)
        else:
            count = (
                max(_samples(span, steps[0])[1] for span in rows),
                max(_samples(span, steps[1])[1] for span in cols),
            )
        tiles = [(row, col) for row in rows for col in cols]
        return Plan((height, width), count, steps, scale if is_integer else None, tiles)

    def _whole(self, image: HostPixels, size: Size, progress: Progress) -> HostPixels:
        key = (image.shape, image.dtype, size)
        function = self._compiled.get(key)
        if function is None:
            function = jax.jit(functools.partial(_render_whole, self.model, size))
            function = self._compiled[key] = self._compile(function, image[None])
        progress(0, 1)
        result = np.asarray(function(self.variables, image[None]))[0]
        progress(1, 1)
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
        nothing = np.zeros((1, 1, image.shape[2]), image.dtype)
        yield [(*places[tile][:2], nothing) for tile in clear]

    @staticmethod
    def _by_kind(image: HostPixels, plan: Plan) -> dict[int, list[tuple[Span, Span]]]:
        """Sort tiles by the channels to compute: without alpha where opaque, 0 where clear."""
        channels = image.shape[2]
        if channels in (1, 3):
            return {channels: plan.tiles}
        kinds: dict[int, list[tuple[Span, Span]]] = {}
        opaque = 1.0 if image.dtype == np.float32 else np.iinfo(image.dtype).max
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
                opaque = 1 if image.dtype == np.float32 else np.iinfo(image.dtype).max
                alpha = np.full((*pixels.shape[:2], 1), opaque, image.dtype)
                pixels = np.concatenate([pixels, alpha], axis=-1)
            yield rows, cols, pixels

    @staticmethod
    def _place(plan: Plan, row: Span, col: Span) -> tuple[slice, slice, Size]:
        """Where a tile goes in the result, and how much is to be skipped of what is rendered."""
        places, skips = [], []
        for span, step in zip((row, col), plan.steps, strict=True):
            first, count = _samples(span, step)
            places.append(slice(first, first + count))
            skips.append(0 if plan.scale is None else (span.low - span.start) * plan.scale)
        return places[0], places[1], (skips[0], skips[1])

    def _function(self, plan: Plan, stacked: list[np.ndarray]) -> Callable[..., Any]:
        is_integer = plan.scale is not None
        key = (plan.extents, plan.count, None if is_integer else plan.steps)
        key = (*key, stacked[0].shape, stacked[0].dtype)
        if key not in self._compiled:
            one_tile = functools.partial(
                _render_tile, self.model, plan.scale, plan.steps, plan.count
            )
            self._compiled[key] = self._compile(_on_every_device(one_tile, self.mesh), *stacked)
        return self._compiled[key]

    def _compile(self, function: Any, *arrays: np.ndarray) -> Callable[..., Any]:
        compiled = function.lower(self.variables, *arrays).compile()
        memory = compiled.memory_analysis()
        if memory is not None:
            needs = memory.temp_size_in_bytes + memory.output_size_in_bytes
            self.workspace = max(self.workspace, needs * self.mesh.size)
        return compiled


def _read(image: HostPixels, plan: Plan, row: Span, col: Span) -> tuple[np.ndarray, ...]:
    """A tile's pixels, which of its rows and columns exist, and where its samples start."""
    indices, exists, starts = [], [], []
    for pixels, span, extent, step in zip(
        image.shape[:2], (row, col), plan.extents, plan.steps, strict=True
    ):
        index = span.start + np.arange(extent)
        exists.append((index < pixels).astype(np.float32))
        indices.append(mirror_indices(index, pixels))
        starts.append(_samples(span, step)[0] * step - span.start)
    return image[np.ix_(*indices)], *exists, np.asarray(starts, np.float32)


def _samples(span: Span, step: float) -> tuple[int, int]:
    """First output sample of a tile and their number: those whose centres lie in it."""
    first = math.ceil(span.low / step - 0.5 - 1e-9)
    last = math.ceil(span.high / step - 0.5 - 1e-9)
    return first, last - first


def _render_whole(model: Hypernetwork, size: Size, variables: Any, images: Any) -> jax.Array:
    axes = [
        Axis(0.0, pixels / count, count)
        for pixels, count in zip(images.shape[1:3], size, strict=True)
    ]
    return _through_model(
        lambda pixels: render(encode(model, variables, pixels)[0], size), images, axes
    )


def _render_tile(
    model: Hypernetwork,
    scale: int | None,
    steps: tuple[float, float],
    count: Size,
    variables: Any,
    images: jax.Array,
    rows: jax.Array,
    cols: jax.Array,
    starts: jax.Array,
) -> jax.Array:
    """Render one tile (a batch of one); ``scale`` is None unless an integer."""
    if scale is not None:
        axes = [Axis(0.0, 1 / scale, count[i]) for i in range(2)]
    else:
        axes = [Axis(starts[0, i], steps[i], count[i]) for i in range(2)]

    def draw(pixels: jax.Array) -> jax.Array:
        function, _ = encode(model, variables, pixels, exists=(rows[0], cols[0]))
        return render_grid(function, *axes) if scale is None else render_phases(function, scale)

    return _through_model(draw, images, axes)


def _through_model(
    draw: Callable[[jax.Array], jax.Array], images: jax.Array, axes: list[Axis]
) -> jax.Array:
    """Send an image [1, h, w, c] of any kind through a function of RGB images in [0, 1]."""
    dtype, channels = images.dtype, images.shape[-1]
    largest = 1 if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).max
    pixels = images.astype(jnp.float32) / largest
    if channels in (1, 3):
        values = _to_channels(draw(_to_rgb(pixels)), channels)
    else:
        colour, alpha = pixels[..., :-1], jnp.clip(pixels[..., -1:], 0, 1)
        drawn = draw(jnp.concatenate([_to_rgb(colour * alpha), _to_rgb(alpha)]))
        # Where alpha is constant it stays so, exactly: what is opaque must not become translucent.
        alpha = jnp.clip(_to_channels(drawn[1:], 1), *_alpha_bounds(alpha, axes))
        is_seen = alpha > 0.5 / 65535
        colour = _to_channels(drawn[:1], channels - 1) / jnp.where(is_seen, alpha, 1.0)
        values = jnp.concatenate([jnp.where(is_seen, colour, 0.0), alpha], axis=-1)
    if largest == 1:
        return values
    return jnp.floor(jnp.clip(values, 0, 1) * largest + 0.5).astype(dtype)


def _to_rgb(pixels: jax.Array) -> jax.Array:
    return jnp.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def _to_channels(pixels: jax.Array, channels: int) -> jax.Array:
    return pixels if channels == 3 else pixels.mean(axis=-1, keepdims=True)


def _alpha_bounds(alpha: jax.Array, axes: list[Axis]) -> list[jax.Array]:
    """Smallest and largest alpha near each output sample."""
    window, strides = (1, 2 * ALPHA_REACH + 1, 2 * ALPHA_REACH + 1, 1), (1, 1, 1, 1)
    bounds = [
        jax.lax.reduce_window(alpha, np.float32(start), operation, window, strides, "SAME")
        for start, operation in ((np.inf, jax.lax.min), (-np.inf, jax.lax.max))
    ]
    rows, cols = (
        jnp.clip(jnp.floor(axis.positions()).astype(int), 0, pixels - 1)
        for axis, pixels in zip(axes, alpha.shape[1:3], strict=True)
    )
    return [jnp.take(jnp.take(bound, rows, axis=1), cols, axis=2) for bound in bounds]


def _on_every_device(one_tile: Callable[..., jax.Array], mesh: Mesh) -> Callable[..., jax.Array]:
    """Give each device a tile of its own."""
    data = PartitionSpec(AXIS)
    return jax.jit(
        jax.shard_map(
            one_tile,
            mesh=mesh,
            in_specs=(PartitionSpec(), data, data, data, data),
            out_specs=data,
            check_vma=False,
        )
    )
