"""Walks between images in the space of weights, and pictures of them: the paper's Section 4.1."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from hyperfunc.errors import UserError
from hyperfunc.evaluation.panels import mosaic
from hyperfunc.evaluation.statistics import gradient_energy
from hyperfunc.experiment import Model
from hyperfunc.function import FunctionalImage, encode, render
from hyperfunc.images import to_uint8, write_animation, write_image
from hyperfunc.networks import PlainTheta, choose_layers, mix, order_layers
from hyperfunc.types import HostImage, Size, Theta

BATCH = 50
"""Images that are encoded or rendered at once; the last batch is filled up."""

STEPS = 9
"""Images on a path whose smoothness is measured."""

Batch = UInt8[np.ndarray, "_ h w 3"]


class WeightSpace:
    """Images as theta, in batches of one shape, so that each function is compiled once."""

    def __init__(self, model: Model, size: Size) -> None:
        """Take the model, and the (height, width) of all images.

        Raises:
            UserError: its images are not all in theta.
        """
        network, variables = model.hypernetwork, model.variables
        if network.base != "none":
            raise UserError(
                f"{model.path}: its target networks correct the interpolated image, so that theta "
                "alone is no image: train with --model.base=none"
            )
        self.size = size

        def emit(images: jax.Array) -> FunctionalImage:
            return encode(network, variables, images)[0]

        # Everything but theta is the same for all images of a size.
        frame: Any = jax.jit(emit)(jnp.zeros((1, *size, 3)))
        self._encode = jax.jit(lambda images: emit(images).expanded())
        self._render = jax.jit(
            lambda theta, size: render(frame.replace(theta=PlainTheta(theta)), size),
            static_argnums=1,
        )

    def encode(self, images: Batch) -> Theta:
        """Emit theta, as arrays of the host with a leading axis of images."""
        return _in_batches(self._encode, images)

    def render(self, theta: Theta, times: int = 1) -> Batch:
        """Render at ``times`` the size of the images."""
        size = (self.size[0] * times, self.size[1] * times)
        return _in_batches(lambda part: to_uint8(np.asarray(self._render(part, size))), theta)


def cross_fade(a: Batch, b: Batch, t: float) -> Batch:
    """Interpolate pixels."""
    return to_uint8((a + np.float32(t) * (b.astype(np.float32) - a)) / np.float32(255))


def draw_figures(
    space: WeightSpace,
    faces: Batch,
    theta: Theta,
    rebuilt: Batch,
    ends: tuple[np.ndarray, np.ndarray],
    out: Path,
    *,
    rows: int = 5,
) -> None:
    """Draw the paper's Figures 1, 6 and 7, the failures, and one walk as an animation."""
    times = np.linspace(0, 1, STEPS)
    rows = min(rows, len(ends[0]))

    def pair(k: int) -> tuple[Theta, Theta]:
        first, second = (jax.tree.map(lambda leaf, i=i: leaf[i[k : k + 1]], theta) for i in ends)
        return first, second

    def walk(k: int, zoom: int = 1, moments: np.ndarray = times) -> list[HostImage]:
        one, two = pair(k)
        return [space.render(mix(one, two, t), zoom)[0] for t in moments]

    def fade(k: int) -> list[HostImage]:
        a, b = (rebuilt[i[k : k + 1]] for i in ends)
        return [cross_fade(a, b, t)[0] for t in times]

    write_image(out / "figure1_weights_and_pixels.png", mosaic([walk(0), fade(0)]))
    write_image(out / "figure6a_weights.png", mosaic([walk(k) for k in range(rows)]))
    write_image(out / "figure6b_pixels.png", mosaic([fade(k) for k in range(rows)]))
    layers = order_layers(theta)
    one, two = pair(0)
    layerwise = [
        [space.render(mix(one, two, t, choose_layers(layers, i)))[0] for t in times]
        for i in range(1, len(layers) + 1)
    ]
    write_image(out / "figure7_layerwise.png", mosaic(layerwise))

    # The walks whose middle has moved furthest from the energy of its ends, up or down.
    count = min(len(ends[0]), 200)
    a, b = (jax.tree.map(lambda leaf, i=i: leaf[i[:count]], theta) for i in ends)
    middle = gradient_energy(space.render(mix(a, b, 0.5)))
    around = (
        gradient_energy(rebuilt[ends[0][:count]]) + gradient_energy(rebuilt[ends[1][:count]])
    ) / 2
    worst = np.argsort(-np.abs(np.log(middle / around)))[:rows]
    write_image(out / "failures.png", mosaic([walk(int(k)) for k in worst]))
    write_image(out / "reconstruction.png", mosaic([list(faces[:STEPS]), list(rebuilt[:STEPS])]))
    there = np.concatenate([np.linspace(0, 1, 24), np.ones(6)])
    frames = walk(0, 2, there)
    write_animation(out / "walk.webp", frames + frames[::-1])


def _in_batches(function: Callable[[Any], Any], tree: Any) -> Any:
    parts = [
        function(part)
        for part in tqdm(list(_batches(tree)), leave=False, unit="batch", disable=None)
    ]
    count = len(jax.tree.leaves(tree)[0])
    return jax.tree.map(
        lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves])[:count], *parts
    )


def _batches(tree: Any) -> Iterator[Any]:
    count = len(jax.tree.leaves(tree)[0])
    width = BATCH if count >= BATCH else 1
    for start in range(0, count, width):
        index = np.minimum(np.arange(start, start + width), count - 1)
        yield jax.tree.map(lambda leaf, i=index: np.asarray(leaf)[i], tree)
