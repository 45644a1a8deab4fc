"""An image as a continuous function, and `encode`, the only way from pixels to it.

    f(x, a) = base(x) + sum over windows k that cover x of  w_k(x) T(local_k(x), a; theta_k)

The ways from the function to values are in `hyperfunc.function.rendering`.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import flax.errors
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from hyperfunc.networks import (
    EMITTED_BASES,
    INFERENCE,
    AnyTheta,
    Hypernetwork,
    Mode,
    PlainTheta,
    Target,
    average_channels,
)
from hyperfunc.pixels import WindowLayout
from hyperfunc.types import Images, Shared, Size, Theta
from hyperfunc.values import to_unit_range


class Fade(NamedTuple):
    """How the sum of the windows fades out where pixels are large; found by measurement.

    See `FunctionalImage.field_share`, and docs/experiments/minification-and-blur.md.
    """

    start: float = 0.8
    """The pixel pitch where it begins, in strides of the windows."""
    rate: float = 8.0
    """How fast the logarithm of the share falls, per squared stride."""


@flax.struct.dataclass
class FunctionalImage:
    """A batch of images as functions [0, 1]^2 -> RGB in [0, 1] (not clipped).

    Attributes:
        theta: parameters of the target networks, one for each window.
        shared: parameters that all target networks have in common.
        base: the images that the target networks correct, or None where they stand alone.
        exists: for each axis 1 for windows of the image, 0 for windows that pad a tile.
        target: the target network.
        layout: the windows.
        size: (height, width) of the images that were encoded.
        fade: how the target networks fade out where pixels are large.
    """

    theta: AnyTheta
    shared: Shared
    base: Images | None
    exists: tuple[Float[Array, " gh"], Float[Array, " gw"]]
    target: Target = flax.struct.field(pytree_node=False)
    layout: WindowLayout = flax.struct.field(pytree_node=False)
    size: Size = flax.struct.field(pytree_node=False)
    fade: Fade = flax.struct.field(pytree_node=False, default=Fade())

    @property
    def is_field_per_pixel(self) -> bool:
        """Whether the fast renderers apply: a Fourier series for each pixel."""
        return self.target.is_fourier_series and self.layout.is_per_pixel

    def expanded(self) -> Theta:
        """Return theta as plain parameters [b, window rows, window columns, ...]."""
        return self.theta.parameters

    def prepared(self) -> AnyTheta:
        """Return theta with parameters as `Target.apply` takes them."""
        if self.target.is_linear:
            return self.theta
        prepare = functools.partial(self.target.prepare, shared=self.shared)
        return PlainTheta(jax.vmap(jax.vmap(jax.vmap(prepare)))(self.expanded()))

    def average_channels(self) -> "FunctionalImage":
        """Make all channels their mean: grey images become grey functions.

        Of target networks the outputs before a sigmoid are averaged, if there is one.
        """
        layer, base = self.target.last_layer, self.base
        if base is not None:
            first = base[..., :1]
            base = first + average_channels(base - first)  # What is grey stays as it is.
        if layer in self.theta.layers:
            theta = self.theta.average_channels(layer)
            return dataclasses.replace(self, theta=theta, base=base)
        shared = {**self.shared, layer: average_channels(self.shared[layer])}
        return dataclasses.replace(self, shared=shared, base=base)

    def field_share(
        self, pitch: tuple[float | Array, float | Array]
    ) -> float | Float[Array, "*points"]:
        """Compute the weight of the windows' sum beside the base: 1, and less for large pixels.

        Nothing averages what changes from window to window, so it would alias. Where a pixel covers
        more than about one stride of the windows, only the base remains, which averages: by default
        the share is, on each axis, 1 up to 0.8 strides, 0.7 at one stride, and 0.02 at 1.5. Without
        a base it is 1.

        Args:
            pitch: pitch (y, x) of the pixels to render, in input pixels.
        """
        if self.base is None or self.layout.size == 0:
            return 1.0
        start, rate = self.fade
        beyond = [jnp.maximum(step / self.layout.stride - start, 0.0) for step in pitch]
        return jnp.exp(-rate * (jnp.square(beyond[0]) + jnp.square(beyond[1])))


def encode(
    model: Hypernetwork,
    variables: Any,
    images: UInt8[Array, "b h w c"] | Images,
    *,
    exists: tuple[Float[Array, " h"], Float[Array, " w"]] | None = None,
    mode: Mode = INFERENCE,
) -> tuple[FunctionalImage, Any]:
    """Turn images into functions.

    Args:
        model: the hypernetwork.
        variables: its Flax variables, {"params": ...} and, if it normalises, "batch_stats".
        images: uint8, or float in [0, 1].
        exists: for each axis 1 for pixels of the image and 0 for padding; the result is then the
            same as for the image without its padding. For a model with a window per pixel.
        mode: for what the network is applied.

    Returns:
        The functional images, and the updated "batch_stats" (empty unless ``mode`` uses the
        statistics of the batch).

    Raises:
        ValueError: the variables belong to images of another size, for a model of the whole image.
    """
    images = to_unit_range(images)
    mask = (
        None if exists is None else exists[0][None, :, None, None] * exists[1][None, None, :, None]
    )
    mutable = ["batch_stats"] if mode.batch_statistics else []
    try:
        (theta, shared, base), updates = model.apply(
            variables, images, mask=mask, mode=mode, mutable=mutable
        )
    except flax.errors.ScopeParamShapeError as error:
        raise ValueError(
            f"images of {images.shape[1]} x {images.shape[2]} pixels do not fit this model: give "
            "images of the size that it was trained on"
        ) from error
    if model.base in EMITTED_BASES and exists is not None:
        base = mirror_beyond(base, exists)
    size = (images.shape[1], images.shape[2])
    grid = model.layout.grid(size)
    function = FunctionalImage(
        theta=theta,
        shared=shared,
        base=base,
        exists=(jnp.ones(grid[0]), jnp.ones(grid[1])) if exists is None else exists,
        target=model.target,
        layout=model.layout,
        size=size,
    )
    return function, updates.get("batch_stats", {})


def mirror_beyond(
    images: Float[Array, "b h w c"], exists: tuple[Float[Array, " h"], Float[Array, " w"]]
) -> Float[Array, "b h w c"]:
    """Replace padding by the pixels mirrored at the image's border, which interpolation reads."""
    for axis, inside in enumerate(exists, start=1):
        index = jnp.arange(inside.size)
        mirrored = 2 * inside.sum().astype(int) - 1 - index
        images = jnp.take(images, jnp.where(inside > 0, index, mirrored.clip(0)), axis=axis)
    return images


def cut_windows(
    function: FunctionalImage, along: int, low: int | Array, extent: int
) -> FunctionalImage:
    """Keep ``extent`` rows (``along`` 0) or columns (1) from ``low`` on, which may be traced.

    For a model with a window per pixel. From two pixels inside the cut on, the function stays the
    same; its positions count from ``low``.
    """

    def cut(leaf: Array, axis: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(leaf, low, extent, axis)

    exists, size = list(function.exists), list(function.size)
    exists[along], size[along] = cut(exists[along], 0), extent
    return dataclasses.replace(
        function,
        theta=function.theta.map_windows(lambda leaf: cut(leaf, along + 1)),
        base=None if function.base is None else cut(function.base, along + 1),
        exists=(exists[0], exists[1]),
        size=(size[0], size[1]),
    )
