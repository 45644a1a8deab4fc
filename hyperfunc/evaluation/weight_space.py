"""Weight space: images as the parameters (theta) of their target networks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from tqdm import tqdm

from hyperfunc.errors import UserError
from hyperfunc.experiment import Model
from hyperfunc.function import FunctionalImage, encode, render
from hyperfunc.images import to_uint8
from hyperfunc.networks import PlainTheta
from hyperfunc.types import Size, Theta

BATCH_SIZE = 50
"""Number of images that are encoded or rendered at once."""

ImageBatch = UInt8[np.ndarray, "_ h w 3"]


class WeightSpace:
    """Encodes images of one size as theta, and renders theta.

    Both work in batches of one shape, so that each function is compiled once.
    """

    def __init__(self, model: Model, size: Size) -> None:
        """Prepare a model for images of a size (height, width).

        Raises:
            UserError: theta alone does not determine the image.
        """
        network, variables = model.hypernetwork, model.variables
        if network.base != "none":
            raise UserError(
                f"{model.path}: its target networks correct the interpolated image, so that theta "
                "alone is no image: train with --model.base=none"
            )
        self.size = size

        def encode_images(images: jax.Array) -> FunctionalImage:
            return encode(network, variables, images)[0]

        # Functions of images of one size differ in theta only.
        template: Any = jax.jit(encode_images)(jnp.zeros((1, *size, 3)))
        self._encode = jax.jit(lambda images: encode_images(images).expanded())
        self._render = jax.jit(
            lambda theta, size: render(template.replace(theta=PlainTheta(theta)), size),
            static_argnums=1,
        )

    def encode(self, images: ImageBatch) -> Theta:
        """Encode images; the arrays of theta are on the host and have a leading axis of images."""
        return _in_batches(self._encode, images, "encoding")

    def render(self, theta: Theta, scale: int = 1) -> ImageBatch:
        """Render theta at ``scale`` times the size of the images."""
        size = (self.size[0] * scale, self.size[1] * scale)

        def render_part(part: Theta) -> ImageBatch:
            return to_uint8(np.asarray(self._render(part, size)))

        return _in_batches(render_part, theta, "rendering")


def to_vectors(tree: Any) -> Float[np.ndarray, "n d"]:
    """Lay the numbers of each image in a row: those of theta, or the pixels of a batch."""
    leaves = jax.tree.leaves(tree)
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def to_theta(vectors: Float[np.ndarray, "n d"], like: Theta) -> Theta:
    """Undo `to_vectors`; ``like`` is any theta of the same network."""
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([leaf[0].size for leaf in leaves])
    parts = np.split(vectors, ends[:-1], axis=1)
    shaped = [part.reshape(-1, *leaf.shape[1:]) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def select(tree: Any, index: Any) -> Any:
    """Select some of the images of theta."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def cross_fade(a: ImageBatch, b: ImageBatch, t: float) -> ImageBatch:
    """Interpolate linearly between pixels, from ``a`` (t = 0) to ``b`` (t = 1)."""
    return to_uint8((a + np.float32(t) * (b.astype(np.float32) - a)) / np.float32(255))


def _in_batches(function: Callable[[Any], Any], tree: Any, what: str) -> Any:
    """Apply a function to batches of one size: the last one repeats the last image to be full."""
    count = len(jax.tree.leaves(tree)[0])
    width = BATCH_SIZE if count >= BATCH_SIZE else 1
    results = []
    for start in tqdm(range(0, count, width), what, leave=False, unit="batch", disable=None):
        index = np.minimum(np.arange(start, start + width), count - 1)
        batch = jax.tree.map(lambda leaf, index=index: np.asarray(leaf)[index], tree)
        results.append(jax.tree.map(np.asarray, function(batch)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *results)
