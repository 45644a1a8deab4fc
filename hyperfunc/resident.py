"""Training examples made on the devices, from images that stay in their memory.

An accelerator takes a training step in milliseconds, and no host cuts and reduces crops as fast.
Here the training images lie on every device, and a compiled function makes a batch of them: the
same crops, symmetries and bicubic reduction as `SuperResolution.make_example`, up to the last bit
of a rounding. As in `hyperfunc.pipeline`, batch number n is a function of (source, task, seed, n)
alone; it is another function, though.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from hyperfunc.border import mirror_indices
from hyperfunc.datasets import ImageSource
from hyperfunc.pipeline import repeat_by_weight
from hyperfunc.resize import ROUND_HALF_UP, axis_weights, crop_margin
from hyperfunc.sharding import batch_sharded, replicated
from hyperfunc.tasks import SuperResolution


class ResidentImages(NamedTuple):
    """Images of any sizes, one after the other."""

    pixels: UInt8[Array, " n"]
    first: Int[Array, " images"]
    """Where each image begins."""
    size: Int[Array, "images 2"]
    numbers: Int[Array, " examples"]
    """Numbers of images, each as often as its weight asks for."""


def load_resident(
    source: ImageSource, mesh: Mesh, weights: Sequence[tuple[str, float]] = ()
) -> ResidentImages:
    """Copy all images to every device; the weights are those of `repeat_by_weight`."""
    images = list(source)
    ends = np.cumsum([image.size for image in images])
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError(
            f"{source.description} has {ends[-1] / 1e9:.1f} GB of pixels, too many to keep on the "
            "devices: train with --data.resident=False"
        )
    arrays = (
        np.concatenate([image.reshape(-1) for image in images]),
        np.asarray([0, *ends[:-1]], np.int32),
        np.asarray([image.shape[:2] for image in images], np.int32),
        repeat_by_weight(source, weights).astype(np.int32),
    )
    return ResidentImages(*jax.device_put(arrays, replicated(mesh)))


def make_resident_batches(
    source: ImageSource,
    task: SuperResolution,
    mesh: Mesh,
    *,
    batch_size: int,
    seed: int,
    weights: Sequence[tuple[str, float]] = (),
    start: int = 0,
) -> Iterator[dict[str, Array]]:
    """Iterate for ever over batches that lie on the devices, sharded.

    Args:
        source: the images.
        task: what examples are.
        mesh: the devices.
        batch_size: over all devices.
        seed: of everything random.
        weights: see `hyperfunc.pipeline.repeat_by_weight`.
        start: number of the first batch.
    """
    images = load_resident(source, mesh, weights)
    make = jax.jit(
        functools.partial(make_examples, task, batch_size),
        out_shardings=batch_sharded(mesh),
    )
    key = jax.random.key(seed)
    batch = start
    while True:
        setting = task.draw_setting(np.random.default_rng([seed, 0, batch]))
        reductions = tuple(
            reduction_matrix(task.crop, setting.scale, offset) for offset in setting.phase
        )
        phase = np.asarray(setting.phase, np.float32)
        yield make(images, jax.random.fold_in(key, batch), reductions, phase)
        batch += 1


def reduction_matrix(crop: int, scale: int, phase: float) -> Float[np.ndarray, "crop padded"]:
    """Bicubic reduction of one axis of a crop with its margins, as a dense matrix."""
    margin = crop_margin(scale)
    padded = crop * scale + 2 * margin
    indices, weights = axis_weights(
        padded, crop, scale=1.0 / scale, offset=(margin + phase) / scale
    )
    matrix = np.zeros((crop, padded))
    np.add.at(matrix, (np.arange(crop)[:, None], indices), weights)
    return matrix.astype(np.float32)


def make_examples(
    task: SuperResolution,
    count: int,
    images: ResidentImages,
    key: Array,
    reductions: tuple[Float[Array, "crop padded"], Float[Array, "crop padded"]],
    phase: Float[Array, " 2"],
) -> dict[str, Array]:
    """Make a batch: crop, turn, permute the colours, reduce. The scale is that of the shapes."""
    padded = reductions[0].shape[1]
    scale = padded // (task.crop + 4)  # padded = crop * scale + 2 * (2 * scale)
    margin = crop_margin(scale)
    draws = jax.random.split(key, 5)
    number = images.numbers[jax.random.randint(draws[0], (count,), 0, len(images.numbers))]
    size = images.size[number]
    room = size - task.crop * scale
    corner = jnp.where(
        room > 0, jax.random.randint(draws[1], room.shape, 0, jnp.maximum(room + 1, 1)), room // 2
    )
    index = corner[:, :, None] - margin + jnp.arange(padded)[None, None]
    index = mirror_indices(index, size[:, :, None])
    if task.flips:
        is_turned = jax.random.bernoulli(draws[2], shape=(count, 3))
        index = jnp.where(is_turned[:, :2, None], index[:, :, ::-1], index)
    rows, cols = index[:, 0, :, None], index[:, 1, None, :]
    pixel = images.first[number][:, None, None] + 3 * (rows * size[:, 1, None, None] + cols)
    channels = jnp.tile(jnp.arange(3), (count, 1))
    if task.permute_colors:
        is_permuted = jax.random.bernoulli(draws[3], task.permute_colors, (count, 1))
        order = jax.random.permutation(draws[4], channels, axis=1, independent=True)
        channels = jnp.where(is_permuted, order, channels)
    region = images.pixels[pixel[..., None] + channels[:, None, None]]
    if task.flips:
        region = jnp.where(is_turned[:, 2, None, None, None], region.swapaxes(1, 2), region)
    observed = region.astype(jnp.float32)
    for equation, matrix in zip(("yh,bhwc->bywc", "xw,bywc->byxc"), reductions, strict=True):
        observed = jnp.einsum(equation, matrix, observed, precision="highest")
        observed = jnp.clip(jnp.floor(observed + ROUND_HALF_UP), 0, 255)
    inside = slice(margin, padded - margin)
    return {
        "observed": observed.astype(jnp.uint8),
        "target": region[:, inside, inside],
        "phase": jnp.tile(phase, (count, 1)),
    }
