"""Training examples made on the devices, from images that stay in their memory.

An accelerator takes a training step in milliseconds, faster than a host can crop and reduce images.
Here every device holds the training images, and a compiled function makes a batch of examples: the
same crops, symmetries, reduction and noise as `SuperResolution.make_example`, with JAX's random
numbers instead of NumPy's. With ``shrink`` above 1 each image is kept in a few sizes, instead of
being reduced by any factor.
"""

import collections
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Shaped, UInt8

from hyperfunc.data.augmentation import (
    DITHERED_SHARE,
    NOISE_SIGMA_RANGE,
    Disturbance,
    disturb,
    measure_detail,
    permute_channels,
    remove_colors,
    turn,
)
from hyperfunc.data.host_operations import Setting, shrink_image
from hyperfunc.data.pipeline import repeat_by_weight
from hyperfunc.data.source import ImageSource
from hyperfunc.data.tasks import SuperResolution, Task
from hyperfunc.devices import batch_sharded, replicated
from hyperfunc.errors import UserError
from hyperfunc.pixels import axis_weights, crop_margin, mirror_indices
from hyperfunc.types import HostImage
from hyperfunc.values import round_levels

MAX_PIXELS = 2**31 - 2**20
"""Pixels that all images together may have: int32 numbers them. The margin is for rounding."""

SIZES_PER_IMAGE = 4
"""In so many sizes each image is kept where the task shrinks images."""

BATCHES_AHEAD = 2
"""So many batches are made before the training loop asks for them."""


class ResidentImages(NamedTuple):
    """Images of any sizes, stored one after the other."""

    pixels: UInt8[Array, "n 3"]
    first: Int[Array, " images"]
    """Number of the first pixel of each image."""
    size: Int[Array, "images 2"]
    numbers: Int[Array, " examples"]
    """Image numbers; an image with a larger weight occurs more often."""


class Resampling(NamedTuple):
    """What resamples the crops of a batch: a matrix for the rows and one for the columns."""

    reduce: tuple[Float[Array, "crop padded"], Float[Array, "crop padded"]]
    """From a padded crop to the observed one."""
    enlarge: tuple[Float[Array, "side crop"], Float[Array, "side crop"]]
    """From an observed crop to the pixels of its target."""


def load_resident(
    source: ImageSource,
    mesh: Mesh,
    weights: Sequence[tuple[str, float]] = (),
    *,
    shrink: float = 1.0,
) -> ResidentImages:
    """Copy all images to every device.

    With ``shrink`` above 1 every image is kept in `SIZES_PER_IMAGE` sizes, evenly from its own down
    to 1 / shrink; all sizes are drawn equally often.
    """
    factors = np.linspace(1.0, shrink, SIZES_PER_IMAGE) if shrink > 1 else np.ones(1)

    def reduce(factor: float, image: HostImage) -> HostImage:
        height, width = (max(round(side / factor), 1) for side in image.shape[:2])
        return shrink_image(image, (height, width))

    with ThreadPoolExecutor() as threads:
        originals = list(threads.map(source.__getitem__, range(len(source))))
        at_one_size = sum(image.size // 3 for image in originals)
        total = at_one_size * (1 / factors**2).sum()
        if total > MAX_PIXELS:
            hint = "--task.shrink=1 or " if at_one_size <= MAX_PIXELS else ""
            raise UserError(
                f"{source.description} has {total / 1e6:.0f} megapixels in {len(factors)} sizes, "
                f"too many to keep on the devices: train with {hint}--data.resident=False"
            )
        images = list(
            threads.map(reduce, np.repeat(factors, len(source)), originals * len(factors))
        )
    ends = np.cumsum([image.size // 3 for image in images])
    numbers = repeat_by_weight(source, weights)
    arrays = (
        np.concatenate([image.reshape(-1, 3) for image in images]),
        np.asarray([0, *ends[:-1]], np.int32),
        np.asarray([image.shape[:2] for image in images], np.int32),
        np.concatenate([numbers + n for n in range(0, len(images), len(source))]).astype(np.int32),
    )
    return ResidentImages(*jax.device_put(arrays, replicated(mesh)))


def make_resident_batches(
    source: ImageSource,
    task: Task,
    mesh: Mesh,
    *,
    batch_size: int,
    seed: int,
    weights: Sequence[tuple[str, float]] = (),
    start: int = 0,
) -> Iterator[dict[str, Array]]:
    """Iterate without end over batches that lie on the devices, sharded; see `make_batches`.

    Raises:
        ValueError: the devices cannot make examples of this task.
    """
    resident_task = task.check_resident()
    images = load_resident(source, mesh, weights, shrink=resident_task.shrink)
    make = jax.jit(
        functools.partial(make_examples, resident_task, batch_size),
        static_argnums=0,
        out_shardings=batch_sharded(mesh),
    )
    key = jax.random.key(seed)

    def make_batch(number: int) -> dict[str, Array]:
        setting = task.draw_setting(np.random.default_rng([seed, 0, number]))
        phase = np.asarray(setting.phase, np.float32)
        resampling = make_resampling(resident_task.crop, setting)
        return make(setting.scale, images, jax.random.fold_in(key, number), resampling, phase)

    numbers = itertools.count(start)
    if mesh.size > 1:  # All devices must receive their work in one order, so from one thread.
        yield from map(make_batch, numbers)
        return
    # Dispatching the work to an accelerator takes about as long as the work: use another thread.
    with ThreadPoolExecutor(1) as thread:
        ahead = collections.deque(
            thread.submit(make_batch, number) for number in itertools.islice(numbers, BATCHES_AHEAD)
        )
        while True:
            batch = ahead.popleft().result()
            ahead.append(thread.submit(make_batch, next(numbers)))
            yield batch


def make_resampling(crop: int, setting: Setting) -> Resampling:
    """Make the matrices of `degrade_crop` and `enlarge` for crops of ``crop`` pixels' side."""
    scale, margin = setting.scale, crop_margin(setting.scale)
    padded = crop * scale + 2 * margin
    reduce, enlarge = [], []
    for phase in setting.phase:
        taps = axis_weights(padded, crop, scale=1.0 / scale, offset=(margin + phase) / scale)
        reduce.append(_as_matrix(padded, *taps))
        taps = axis_weights(crop, crop * scale, scale=float(scale), offset=-phase)
        enlarge.append(_as_matrix(crop, *taps))
    return Resampling((reduce[0], reduce[1]), (enlarge[0], enlarge[1]))


def _as_matrix(
    n_in: int, indices: Int[np.ndarray, "n taps"], weights: Float[np.ndarray, "n taps"]
) -> Float[np.ndarray, "n n_in"]:
    """Write the weights of each output as a row."""
    matrix = np.zeros((len(indices), n_in))
    np.add.at(matrix, (np.arange(len(indices))[:, None], indices), weights)
    return matrix.astype(np.float32)


def make_examples(
    task: SuperResolution,
    count: int,
    scale: int,
    images: ResidentImages,
    key: Array,
    resampling: Resampling,
    phase: Float[Array, " 2"],
) -> dict[str, Array]:
    """Make a batch of ``count`` examples as `SuperResolution.make_example` does."""
    draws = jax.random.split(key, 5)
    region = _draw_regions(task, count, scale, images, draws[0], draws[1])
    if task.flips:
        turns = jax.random.bernoulli(draws[2], shape=(count, 3))
        region = turn(region, turns.T[..., None, None, None])
    if task.permute_colors:
        channels = jnp.tile(jnp.arange(3), (count, 1))
        is_permuted = jax.random.bernoulli(draws[3], task.permute_colors, (count, 1))
        order = jax.random.permutation(draws[4], channels, axis=1, independent=True)
        order = jnp.where(is_permuted, order, channels)
        region = permute_channels(region, order[:, None, None])
    if task.grey:
        is_grey = jax.random.bernoulli(jax.random.fold_in(key, 6), task.grey, (count, 1, 1, 1))
        region = jnp.where(is_grey, remove_colors(region), region)
    margin = crop_margin(scale)
    observed = _resample(resampling.reduce, region, round_levels).astype(jnp.uint8)
    target = region[:, margin:-margin, margin:-margin]
    if task.noise:
        disturbance = _draw_disturbance(jax.random.fold_in(key, 5), observed.shape, task.noise)
        enlarge = functools.partial(_resample, resampling.enlarge)
        observed, target = disturb(observed, target, disturbance, enlarge)
    return {"observed": observed, "target": target, "phase": jnp.tile(phase, (count, 1))}


def _draw_regions(
    task: SuperResolution, count: int, scale: int, images: ResidentImages, key: Array, place: Array
) -> UInt8[Array, "count padded padded 3"]:
    """Draw crops with the margins that their reduction needs, as `SuperResolution` does."""
    margin = crop_margin(scale)
    padded = task.crop * scale + 2 * margin
    number = images.numbers[jax.random.randint(key, (count,), 0, len(images.numbers))]
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
        return read(draw_index(place))
    indices = jax.vmap(draw_index)(jax.random.split(place, task.tries))
    best = jax.lax.map(lambda index: measure_detail(read(index)), indices).argmax(axis=0)
    return read(indices[best, jnp.arange(count)])


def _draw_disturbance(key: Array, shape: tuple[int, ...], probability: float) -> Disturbance:
    """Draw noise for some images of a batch, as `host_operations.draw_disturbance` does."""
    draws = jax.random.split(key, 5)
    scalars = (shape[0], 1, 1, 1)
    low, high = (math.log(sigma) for sigma in NOISE_SIGMA_RANGE)
    sigma = jnp.exp(jax.random.uniform(draws[0], scalars, minval=low, maxval=high))
    noise = jax.random.normal(draws[1], shape)
    is_grey, is_dithered, is_disturbed = (
        jax.random.bernoulli(draw, share, scalars)
        for draw, share in zip(draws[2:], (0.5, DITHERED_SHARE, probability), strict=True)
    )
    return Disturbance(
        noise=jnp.where(is_grey, noise[..., :1], noise),
        sigma=jnp.where(is_disturbed, sigma, 0.0),
        is_dithered=is_disturbed & is_dithered,
    )


def _resample(
    matrices: tuple[Float[Array, "m n"], Float[Array, "m n"]],
    images: Shaped[Array, "b n n c"],
    round_axis: Callable[[Array], Array] = lambda image: image,
) -> Float[Array, "b m m c"]:
    """Resample the rows and then the columns, and round after either as MATLAB does."""
    for equation, matrix in zip(("yh,bhwc->bywc", "xw,bywc->byxc"), matrices, strict=True):
        images = images.astype(jnp.float32)
        images = round_axis(jnp.einsum(equation, matrix, images, precision="highest"))
    return images
