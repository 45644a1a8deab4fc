"""To a continuous function, from a picture with a trained model, or from a file."""

import functools
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from hyperfunc.api.continuous_image import ContinuousImage
from hyperfunc.cache import keep_compilations
from hyperfunc.errors import UserError
from hyperfunc.experiment import Model, load_model
from hyperfunc.files import as_path
from hyperfunc.function import FunctionalImage, encode
from hyperfunc.images import FLOAT_TOLERANCE, read_as_shown, unwrap_pillow
from hyperfunc.networks import AnyTheta, Hypernetwork
from hyperfunc.upscaling import mark_missing, plan_encoding
from hyperfunc.values import to_unit_range

MAX_THETA_BYTES = 2**32
"""The largest theta that is held in memory: 22 megapixels with the bundled model."""


def represent(
    image: Any,
    *,
    checkpoint: str | os.PathLike[str] | Model | None = None,
    mask: Any = None,
) -> ContinuousImage:
    """Turn a picture into a continuous function.

    A grey picture becomes a grey function. Large pictures are encoded tile by tile, with the same
    result. Pictures of many sizes share what is compiled, and it is kept on disk for the next
    process (`hyperfunc.cache`). Within `jax.jit`, `jax.vmap` and `jax.grad` use `hyperfunc.encode`.

    Args:
        image: a path, a PIL image, or an array [h, w, 3], [h, w, 1] or [h, w]: uint8, uint16, or
            floating point in [0, 1]. A file is read as a browser shows it: upright, in sRGB, and on
            white where it is transparent. A PIL image is turned upright; its colours are not
            converted, and an alpha channel is dropped.
        checkpoint: the name of a bundled checkpoint, the workdir of a training run, or a model
            from `load_model`. A named model is read once and kept. If not given, sr, or inpaint
            with a mask.
        mask: an array [h, w] of bool that is true where pixels are missing, which are filled.

    Raises:
        UserError: the file cannot be read, there is no such checkpoint, it does not fill missing
            pixels, or the picture is so large that its function would not fit in memory.
        ValueError: the array has another shape, type or range, or the mask does not fit it.
    """
    keep_compilations()
    if checkpoint is None:
        checkpoint = "sr" if mask is None else "inpaint"
    # Only a str names a bundled model.
    key = checkpoint if isinstance(checkpoint, (Model, str)) else as_path(checkpoint)
    model = key if isinstance(key, Model) else _load_once(key)
    pixels = to_pixels(image)
    _check_size(model, pixels.shape[:2])
    is_grey = (pixels == pixels[..., :1]).all()
    if mask is not None:
        model.check_filling()
        pixels = mark_missing(pixels, _check_mask(np.asarray(mask), pixels.shape))
    function = _encode_tiles(model.hypernetwork, model.variables, pixels)
    if is_grey:  # The model would tint it.
        function = function.average_channels()
    return ContinuousImage(function)


def load(path: str | os.PathLike[str]) -> ContinuousImage:
    """Read a function that `ContinuousImage.save` wrote.

    Raises:
        UserError: there is no such file, or it is damaged or of another version.
    """
    from hyperfunc.export import load_function

    keep_compilations()
    function = load_function(path)
    count = function.theta.batch
    if count != 1:
        raise UserError(
            f"{path}: holds {count} images; read it with hyperfunc.export.load_function"
        )
    return ContinuousImage(function)


def to_pixels(image: Any) -> Float[np.ndarray, "h w 3"]:
    """Convert a picture to float32 RGB in [0, 1]; see `represent` for what is accepted."""
    if isinstance(image, str | os.PathLike):
        return to_pixels(read_as_shown(image).pixels)
    if isinstance(image, Tracer):
        raise ValueError(
            "represent works outside of jax.jit, jax.vmap and jax.grad: use hyperfunc.encode there"
        )
    pixels = np.asarray(unwrap_pillow(image))
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or 0 in pixels.shape:
        hint = "; drop the alpha channel" if pixels.ndim == 3 and pixels.shape[-1] == 4 else ""
        raise ValueError(
            f"an array {list(pixels.shape)} is no picture: "
            f"give [h, w, 3], [h, w, 1] or [h, w]{hint}"
        )
    if pixels.dtype in (np.uint8, np.uint16):
        pixels = to_unit_range(pixels)
    elif np.issubdtype(pixels.dtype, np.floating) or pixels.dtype == jnp.bfloat16:
        pixels = pixels.astype(np.float32)
        low, high = float(pixels.min()), float(pixels.max())
        if not math.isfinite(high - low):
            raise ValueError(
                "values that are not finite numbers: replace them, and give a mask if they are "
                "missing pixels"
            )
        if not (low >= -FLOAT_TOLERANCE and high <= 1 + FLOAT_TOLERANCE):
            raise ValueError(
                f"floating-point values from {low:g} to {high:g}: scale them to [0, 1]"
            )
        pixels = np.clip(pixels, 0.0, 1.0)
    else:
        raise ValueError(
            f"an array of {pixels.dtype} is no picture: give uint8, uint16 or floating point"
        )
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _check_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if mask.shape != shape[:2] or mask.dtype != bool:
        raise ValueError(
            f"a mask {list(mask.shape)} of {mask.dtype} for a picture {list(shape)}: give "
            f"{list(shape[:2])} of bool"
        )
    if mask.all():
        raise ValueError("all pixels are missing: give a mask that is false somewhere")
    return mask


_load_once = functools.lru_cache(maxsize=4)(load_model)


def _check_size(model: Model, size: tuple[int, int]) -> None:
    def encode_leaves(images: Array) -> list[Array]:
        function, _ = encode(model.hypernetwork, model.variables, images)
        return jax.tree.leaves(function.theta)

    try:
        leaves = jax.eval_shape(encode_leaves, jax.ShapeDtypeStruct((1, *size, 3), jnp.float32))
    except ValueError as error:
        raise UserError(f"{model.path}: {error}") from error
    needed = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
    if needed > MAX_THETA_BYTES:
        raise UserError(
            f"the function of a picture of {size[1]} x {size[0]} pixels takes "
            f"{needed / 2**30:.1f} GiB, more than {MAX_THETA_BYTES / 2**30:.0f} GiB: "
            "use the command `hyperfunc upscale` or hyperfunc.Upscaler, which work tile by tile"
        )


def _encode_tiles(
    model: Hypernetwork, variables: Any, pixels: Float[np.ndarray, "h w 3"]
) -> FunctionalImage:
    """Encode one image in tiles, padded to a few extents so that few functions are compiled."""
    height, width = pixels.shape[:2]
    if not model.layout.is_per_pixel:
        return _encode(model, variables, jnp.asarray(pixels)[None])
    reads = model.reads
    assert reads is not None  # Of every model with a window per pixel.
    grid = plan_encoding((height, width), halo=reads.radius + 1, alignment=reads.alignment)
    tiles, first = [], None
    base = None if model.base == "none" else pixels[None].copy()
    for row in grid.rows:
        line = []
        for col in grid.cols:
            # The tile's part of the image, padded with zeros, which are masked out.
            part = pixels[row.reads(grid.extents[0]), col.reads(grid.extents[1])]
            rows, cols = (
                (np.arange(extent) < n).astype(np.float32)
                for extent, n in zip(grid.extents, part.shape, strict=False)
            )
            missing = [(0, extent - n) for extent, n in zip(grid.extents, part.shape, strict=False)]
            padded = np.pad(part, [*missing, (0, 0)])[None]
            function = _encode(model, variables, padded, (rows, cols))
            first = first or function
            own = (slice(None), row.own, col.own)
            # Slicing on the host compiles nothing.
            line.append(function.theta.map_windows(lambda leaf, own=own: np.asarray(leaf)[own]))
            if base is not None and reads.base_radius:
                base[:, row.low : row.high, col.low : col.high] = np.asarray(function.base)[own]
        tiles.append(_concatenate(line, axis=2))
    assert first is not None
    return FunctionalImage(
        theta=_concatenate(tiles, axis=1).map_windows(jnp.asarray),
        shared=first.shared,
        base=None if base is None else jnp.asarray(base),
        exists=(jnp.ones(height), jnp.ones(width)),
        target=model.target,
        layout=model.layout,
        size=(height, width),
    )


def _concatenate(parts: list[AnyTheta], axis: int) -> AnyTheta:
    first, *others = parts
    return first.map_windows(lambda *leaves: np.concatenate(leaves, axis=axis), *others)


@functools.partial(jax.jit, static_argnames=("model",))
def _encode(
    model: Hypernetwork,
    variables: Any,
    images: Array,
    exists: tuple[Array, Array] | None = None,
) -> FunctionalImage:
    return encode(model, variables, images, exists=exists)[0]
