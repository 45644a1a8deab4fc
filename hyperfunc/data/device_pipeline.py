"""Training examples made on the devices, from images that stay in their memory.

An accelerator takes a training step in milliseconds, and no host cuts and reduces crops as fast.
Here the training images lie on every device, and a compiled function makes a batch of them: the
same crops, symmetries and bicubic reduction as `SuperResolution.make_example`, up to the last bit
of a rounding, and the same noise. With ``shrink`` they come from a few sizes of each image, not
from all between. As in `hyperfunc.data.pipeline`, batch number n is a function of (source, task,
seed, n) alone; it is another function, though.
"""

import collections
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from hyperfunc.data.pipeline import repeat_by_weight
from hyperfunc.data.source import ImageSource
from hyperfunc.data.tasks import DITHERED, NOISE_SIGMA, SuperResolution, shrink_image
from hyperfunc.devices import batch_sharded, replicated
from hyperfunc.errors import UserError
from hyperfunc.pixels import ROUND_HALF_UP, axis_weights, crop_margin, mirror_indices
from hyperfunc.types import HostImage

LARGEST = 2**31 - 2**20
"""So many pixels can be numbered by int32, with room for what rounding adds to the sizes."""

SIZES = 4
"""In how many an image is kept, where training examples come from smaller ones, too."""

AHEAD = 2
"""So many batches are made before they are asked for."""


class ResidentImages(NamedTuple):
    """Images of any sizes, one after the other."""

    pixels: UInt8[Array, "n 3"]
    first: Int[Array, " images"]
    """Where each image begins."""
    size: Int[Array, "images 2"]
    numbers: Int[Array, " examples"]
    """Numbers of images, each as often as its weight asks for."""


def load_resident(
    source: ImageSource,
    mesh: Mesh,
    weights: Sequence[tuple[str, float]] = (),
    *,
    shrink: float = 1.0,
) -> ResidentImages:
    """Copy all images to every device.

    Args:
        source: the images.
        mesh: the devices.
        weights: see `repeat_by_weight`.
        shrink: if more than 1, every image lies there in `SIZES` sizes, as it is and evenly down to
            1 / this; each size is drawn as often.
    """
    factors = np.linspace(1.0, shrink, SIZES) if shrink > 1 else np.ones(1)
    with ThreadPoolExecutor() as threads:
        originals = list(threads.map(source.__getitem__, range(len(source))))
        at_one_size = sum(image.size // 3 for image in originals)
        total = at_one_size * (1 / factors**2).sum()
        if total > LARGEST:
            hint = "--task.shrink=1 or " if at_one_size <= LARGEST else ""
            raise UserError(
                f"{source.description} has {total / 1e6:.0f} megapixels in {len(factors)} sizes, "
                f"too many to keep on the devices: train with {hint}--data.resident=False"
            )
        copies = itertools.product(factors, originals)
        images = list(threads.map(lambda copy: _shrink(*copy), copies))
    ends = np.cumsum([image.size // 3 for image in images])
    numbers = repeat_by_weight(source, weights)
    arrays = (
        np.concatenate([image.reshape(-1, 3) for image in images]),
        np.asarray([0, *ends[:-1]], np.int32),
        np.asarray([image.shape[:2] for image in images], np.int32),
        np.concatenate([numbers + n for n in range(0, len(images), len(source))]).astype(np.int32),
    )
    return ResidentImages(*jax.device_put(arrays, replicated(mesh)))


def _shrink(factor: float, image: HostImage) -> HostImage:
    if factor == 1:
        return image
    height, width = (max(round(side / factor), 1) for side in image.shape[:2])
    return shrink_image(image, (height, width))


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
        weights: see `hyperfunc.data.pipeline.repeat_by_weight`.
        start: number of the first batch.
    """
    images = load_resident(source, mesh, weights, shrink=task.shrink)
    make = jax.jit(
        functools.partial(make_examples, task, batch_size),
        out_shardings=batch_sharded(mesh),
    )
    key = jax.random.key(seed)

    def make_batch(number: int) -> dict[str, Array]:
        setting = task.draw_setting(np.random.default_rng([seed, 0, number]))
        reductions = tuple(
            reduction_matrix(task.crop, setting.scale, offset) for offset in setting.phase
        )
        enlargements = None
        if task.noise:
            enlargements = tuple(
                enlargement_matrix(task.crop, setting.scale, offset) for offset in setting.phase
            )
        phase = np.asarray(setting.phase, np.float32)
        return make(images, jax.random.fold_in(key, number), reductions, enlargements, phase)

    numbers = itertools.count(start)
    if mesh.size > 1:  # All devices have to get their work in one order, so from one thread.
        yield from map(make_batch, numbers)
        return
    # A thread of its own: to send work to an accelerator takes about as long as the work does.
    with ThreadPoolExecutor(1) as thread:
        ahead = collections.deque(
            thread.submit(make_batch, number) for number in itertools.islice(numbers, AHEAD)
        )
        while True:
            batch = ahead.popleft().result()
            ahead.append(thread.submit(make_batch, next(numbers)))
            yield batch


def reduction_matrix(crop: int, scale: int, phase: float) -> Float[np.ndarray, "crop padded"]:
    """Bicubic reduction of one axis of a crop with its margins, as a dense matrix."""
    margin = crop_margin(scale)
    padded = crop * scale + 2 * margin
    return _as_matrix(
        padded, axis_weights(padded, crop, scale=1.0 / scale, offset=(margin + phase) / scale)
    )


def enlargement_matrix(crop: int, scale: int, phase: float) -> Float[np.ndarray, "side crop"]:
    """Bicubic interpolation of one axis of an observed crop at the pixels of its target."""
    return _as_matrix(crop, axis_weights(crop, crop * scale, scale=float(scale), offset=-phase))


def _as_matrix(
    n_in: int, taps: tuple[Int[np.ndarray, "n taps"], Float[np.ndarray, "n taps"]]
) -> Float[np.ndarray, "n n_in"]:
    """Write the weights of each output as a row."""
    indices, weights = taps
    matrix = np.zeros((len(indices), n_in))
    np.add.at(matrix, (np.arange(len(indices))[:, None], indices), weights)
    return matrix.astype(np.float32)


def make_examples(
    task: SuperResolution,
    count: int,
    images: ResidentImages,
    key: Array,
    reductions: tuple[Float[Array, "crop padded"], Float[Array, "crop padded"]],
    enlargements: tuple[Float[Array, "side crop"], Float[Array, "side crop"]] | None,
    phase: Float[Array, " 2"],
) -> dict[str, Array]:
    """Make a batch: crop, turn, permute the colours, reduce, disturb.

    The scale is that of the shapes. Without enlargements nothing is disturbed.
    """
    padded = reductions[0].shape[1]
    scale = padded // (task.crop + 2 * crop_margin(1))
    margin = crop_margin(scale)
    assert padded == task.crop * scale + 2 * margin
    draws = jax.random.split(key, 5)
    number = images.numbers[jax.random.randint(draws[0], (count,), 0, len(images.numbers))]
    size = images.size[number]
    room = size - task.crop * scale

    def draw_index(key: Array) -> Int[Array, "count 2 padded"]:
        corner = jnp.where(
            room > 0, jax.random.randint(key, room.shape, 0, jnp.maximum(room + 1, 1)), room // 2
        )
        index = corner[:, :, None] - margin + jnp.arange(padded)[None, None]
        return mirror_indices(index, size[:, :, None])

    def read(index: Int[Array, "count 2 padded"]) -> UInt8[Array, "count padded padded 3"]:
        rows, cols = index[:, 0, :, None], index[:, 1, None, :]
        pixel = images.first[number][:, None, None] + rows * size[:, 1, None, None] + cols
        return images.pixels[pixel]

    if task.tries == 1:
        index = draw_index(draws[1])
    else:
        indices = jax.vmap(draw_index)(jax.random.split(draws[1], task.tries))
        best = jax.lax.map(lambda index: _detail(read(index)), indices).argmax(axis=0)
        index = indices[best, jnp.arange(count)]
    if task.flips:
        is_turned = jax.random.bernoulli(draws[2], shape=(count, 3))
        index = jnp.where(is_turned[:, :2, None], index[:, :, ::-1], index)
    region = read(index)
    if task.permute_colors:
        channels = jnp.tile(jnp.arange(3), (count, 1))
        is_permuted = jax.random.bernoulli(draws[3], task.permute_colors, (count, 1))
        order = jax.random.permutation(draws[4], channels, axis=1, independent=True)
        channels = jnp.where(is_permuted, order, channels)
        region = jnp.take_along_axis(region, channels[:, None, None], axis=3)
    if task.flips:
        region = jnp.where(is_turned[:, 2, None, None, None], region.swapaxes(1, 2), region)
    inside = slice(margin, padded - margin)
    # As MATLAB does, after either axis.
    observed = _apply(reductions, region.astype(jnp.float32), is_rounded=True)
    target = region[:, inside, inside]
    if enlargements is not None:
        disturbed = _disturb(jax.random.fold_in(key, 5), observed, task.noise)
        difference = _apply(enlargements, disturbed - observed, is_rounded=False)
        observed, target = disturbed, _to_levels(target + difference)
    return {
        "observed": observed.astype(jnp.uint8),
        "target": target.astype(jnp.uint8),
        "phase": jnp.tile(phase, (count, 1)),
    }


def _detail(images: UInt8[Array, "b n n 3"]) -> Float[Array, " b"]:
    """As `hyperfunc.data.tasks.detail`."""
    green = images[..., 1].astype(jnp.float32)
    rows, cols = (jnp.abs(jnp.diff(green, axis=axis)).mean((1, 2)) for axis in (1, 2))
    return rows + cols


def _apply(
    matrices: tuple[Float[Array, "m n"], Float[Array, "m n"]],
    images: Float[Array, "b n n 3"],
    *,
    is_rounded: bool,
) -> Float[Array, "b m m 3"]:
    """Resample rows, then columns."""
    rounded = _to_levels if is_rounded else lambda images: images
    for equation, matrix in zip(("yh,bhwc->bywc", "xw,bywc->byxc"), matrices, strict=True):
        images = rounded(jnp.einsum(equation, matrix, images, precision="highest"))
    return images


def _to_levels(images: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Round to the values of uint8."""
    return jnp.clip(jnp.floor(images + ROUND_HALF_UP), 0, 255)


def _disturb(
    key: Array, observed: Float[Array, "b n n 3"], probability: float
) -> Float[Array, "b n n 3"]:
    """Do for some images of a batch what `hyperfunc.data.tasks.disturb` does."""
    draws = jax.random.split(key, 5)
    shape = (len(observed), 1, 1, 1)
    low, high = (math.log(sigma) for sigma in NOISE_SIGMA)
    sigma = jnp.exp(jax.random.uniform(draws[0], shape, minval=low, maxval=high))
    noise = jax.random.normal(draws[1], observed.shape)
    is_grey, is_dithered, is_disturbed = (
        jax.random.bernoulli(draw, share, shape)
        for draw, share in zip(draws[2:], (0.5, DITHERED, probability), strict=True)
    )
    noisy = observed + sigma * jnp.where(is_grey, noise[..., :1], noise)
    noisy = jnp.where(is_dithered, jnp.where(noisy < 128, 0.0, 255.0), noisy)
    return jnp.where(is_disturbed, _to_levels(noisy), observed)
