"""Large images in bounded memory, on all devices: encode and render tile by tile.

A tile is a part of the input with a halo as wide as the hypernetwork's receptive field, so that
tiles put together are what the whole would have given. Tiles of an image have one shape, rounded
up to a few sizes, so that few shapes are ever compiled; what a tile has beyond the image is masked
out exactly.
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

from hyperfunc.coords import Axis
from hyperfunc.functional_image import encode, render, render_grid, render_phases
from hyperfunc.hypernetwork import Hypernetwork
from hyperfunc.images import to_uint8
from hyperfunc.sharding import AXIS, make_mesh
from hyperfunc.types import HostImage, Size

LARGEST_TILE = 256
"""Side of a tile without its halo, in input pixels, at most."""

ROUNDING = 32
"""Sides of tiles are multiples of this."""


@dataclasses.dataclass(frozen=True)
class Span:
    """A tile along one axis: renders input pixels [low, high), reads from ``start`` on."""

    low: int
    high: int
    start: int


def plan_axis(pixels: int, halo: int, parts: int) -> tuple[int, list[Span]]:
    """Cut an axis into at least ``parts`` tiles of equal extent.

    Returns:
        The extent of a tile with its halo, rounded up, and the tiles.
    """
    parts = max(min(parts, pixels), math.ceil(pixels / LARGEST_TILE))
    edges = [round(pixels * i / parts) for i in range(parts + 1)]
    # The image's own border needs no halo.
    starts = [max(edge - halo, 0) for edge in edges[:-1]]
    ends = [min(edge + halo, pixels) for edge in edges[1:]]
    extent = max(end - start for start, end in zip(starts, ends, strict=True))
    extent = math.ceil(extent / ROUNDING) * ROUNDING
    return extent, [Span(*span) for span in zip(edges[:-1], edges[1:], starts, strict=True)]


class Upscaler:
    """Renders images at any size with one model; compiled functions are kept between images.

    Args:
        model: the hypernetwork.
        variables: its variables.
        devices: on which to work; all if not given.
    """

    def __init__(
        self, model: Hypernetwork, variables: Any, *, devices: list[Any] | None = None
    ) -> None:
        """Keep the model on the devices."""
        self.model, self.mesh = model, make_mesh(devices)
        self.variables = jax.device_put(variables, jax.NamedSharding(self.mesh, PartitionSpec()))
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def __call__(self, image: HostImage, size: Size) -> HostImage:
        """Render an image at ``size`` (height, width).

        Raises:
            ValueError: a size below one pixel.
        """
        if min(size) < 1:
            raise ValueError(f"cannot render an image of size {size}: give at least 1 x 1 pixels")
        if not self.model.layout.is_per_pixel:
            return self._whole(image, size)
        result = np.empty((*size, 3), np.uint8)
        for rows, cols, pixels in self._tiles(image, size):
            result[rows, cols] = pixels
        return result

    @property
    def compilations(self) -> int:
        """How many functions were compiled so far."""
        return len(self._compiled)

    def _whole(self, image: HostImage, size: Size) -> HostImage:
        function = self._compiled.setdefault(
            (image.shape, size), jax.jit(functools.partial(_render_whole, self.model, size))
        )
        pixels = image[None].astype(np.float32) / 255
        return to_uint8(np.asarray(function(self.variables, pixels))[0])

    def _tiles(self, image: HostImage, size: Size) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Work on as many tiles at once as there are devices."""
        halo = self.model.backbone.receptive_radius + 1
        steps = [pixels / out for pixels, out in zip(image.shape[:2], size, strict=True)]
        worth_dividing = min(image.shape[:2]) > 2 * halo
        parts = self.mesh.size if worth_dividing else 1
        tall = image.shape[0] >= image.shape[1]
        extents, spans = zip(
            *(
                plan_axis(pixels, halo, parts if is_longer else 1)
                for pixels, is_longer in zip(image.shape[:2], (tall, not tall), strict=True)
            ),
            strict=True,
        )
        scale = round(1 / steps[0])
        is_integer = all(scale * n == out for n, out in zip(image.shape[:2], size, strict=True))
        counts = [
            extent * scale if is_integer else max(_samples(s, step)[1] for s in axis)
            for axis, step, extent in zip(spans, steps, extents, strict=True)
        ]
        count = (counts[0], counts[1])
        key = (extents, count, None if is_integer else tuple(steps))
        render_tiles = self._compiled.get(key)
        if render_tiles is None:
            one_tile = functools.partial(
                _render_tile, self.model, scale if is_integer else None, tuple(steps), count
            )
            render_tiles = self._compiled[key] = _on_every_device(one_tile, self.mesh)

        pairs = [(row, col) for row in spans[0] for col in spans[1]]
        for i in range(0, len(pairs), self.mesh.size):
            group = pairs[i : i + self.mesh.size]
            padded = group + [group[-1]] * (self.mesh.size - len(group))
            inputs = [self._read(image, row, col, extents, steps) for row, col in padded]
            stacked = [np.stack(arrays) for arrays in zip(*inputs, strict=True)]
            outputs = np.asarray(render_tiles(self.variables, *stacked))
            for (row, col), pixels in zip(group, outputs, strict=False):
                (top, height), (left, width) = _samples(row, steps[0]), _samples(col, steps[1])
                if is_integer:
                    skip = [(span.low - span.start) * scale for span in (row, col)]
                    pixels = pixels[skip[0] :, skip[1] :]
                yield (
                    slice(top, top + height),
                    slice(left, left + width),
                    pixels[:height, :width],
                )

    @staticmethod
    def _read(
        image: HostImage, row: Span, col: Span, extents: Size, steps: list[float]
    ) -> tuple[np.ndarray, ...]:
        """A tile's pixels, which of its rows and columns exist, and where its samples start."""
        indices, exists, starts = [], [], []
        for pixels, span, extent, step in zip(
            image.shape[:2], (row, col), extents, steps, strict=True
        ):
            index = span.start + np.arange(extent)
            exists.append((index < pixels).astype(np.float32))
            mirrored = np.mod(index, 2 * pixels)
            indices.append(np.minimum(mirrored, 2 * pixels - 1 - mirrored))
            starts.append(_samples(span, step)[0] * step - span.start)
        return image[np.ix_(*indices)], *exists, np.asarray(starts, np.float32)


def _samples(span: Span, step: float) -> tuple[int, int]:
    """First output sample of a tile and their number: those whose centres lie in it."""
    first = math.ceil(span.low / step - 0.5 - 1e-9)
    last = math.ceil(span.high / step - 0.5 - 1e-9)
    return first, last - first


def _render_whole(model: Hypernetwork, size: Size, variables: Any, images: Any) -> jax.Array:
    return render(encode(model, variables, images)[0], size)


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
    """Render one tile (a batch of one, uint8 in and out); ``scale`` is None unless an integer."""
    function, _ = encode(
        model, variables, images.astype(jnp.float32) / 255, exists=(rows[0], cols[0])
    )
    if scale is not None:
        pixels = render_phases(function, scale)
    else:
        axes = [Axis(starts[0, i], steps[i], count[i]) for i in range(2)]
        pixels = render_grid(function, *axes)
    return jnp.floor(jnp.clip(pixels, 0, 1) * 255 + 0.5).astype(jnp.uint8)


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
