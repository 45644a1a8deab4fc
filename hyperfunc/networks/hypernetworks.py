"""Hypernetworks: Linen modules from images to theta, the parameters of their target networks.

Both hypernetworks return (theta, shared, base). They differ in what a window sees:
`PixelHypernetwork` runs its trunk once over the image, so each window sees a large neighbourhood;
`PatchHypernetwork`, the paper's, reads each window as an image of its own, or slides over features.
"""

import dataclasses
import math
from functools import partial
from typing import Any, Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from hyperfunc.errors import check_range
from hyperfunc.networks.backbones import EDSR, Backbone, InceptionTrunk
from hyperfunc.networks.cpu_gradients import dot_for_flax
from hyperfunc.networks.filling import FILL_RADIUS, fill_missing
from hyperfunc.networks.layers import FactorizedConv, Mask, Precision, pool_to
from hyperfunc.networks.protocols import INFERENCE, Mode
from hyperfunc.networks.targets import CosineMLP, FourierField, Target
from hyperfunc.networks.theta import AnyTheta, FactoredTheta, PlainTheta
from hyperfunc.pixels import PER_PIXEL, WHOLE_IMAGE, WindowLayout, mirror_indices
from hyperfunc.types import Images, Neighbourhood, Shared, Theta

Base = Literal["none", "bicubic", "corrected", "filled"]
"""What target networks correct by addition: nothing, bicubic interpolation of the input, or of the
input plus a correction that the hypernetwork emits, of each pixel or of the missing pixels only."""

EMITTED_BASES = ("corrected", "filled")
"""Those that the hypernetwork emits."""


class _MakesFunctions(nn.Module):
    """What both hypernetworks have in common."""

    fixed_scale = None
    """There is none: functions can be rendered at any scale."""

    @property
    def depends_on_footprint(self: Any) -> bool:
        """Whether the base or the target network averages over an output pixel."""
        return self.base != "none" or self.target.depends_on_footprint

    @property
    def reads(self: Any) -> Neighbourhood | None:
        """What tiles need of the image around them; None where it cannot be read in tiles."""
        radius = self.backbone.receptive_radius
        if radius is None or not self.layout.is_per_pixel:
            return None
        radius += FILL_RADIUS if self.base == "filled" else 0
        base_radius = radius if self.base in EMITTED_BASES else 0
        return Neighbourhood(radius, base_radius, self.backbone.alignment)

    def with_dtype(self: Any, dtype: Precision) -> Any:
        """Return the same network with its backbone computing in another precision."""
        return self.clone(backbone=self.backbone.clone(dtype=dtype))


class PixelHypernetwork(_MakesFunctions):
    """One trunk over the whole image, and a target network for each of its pixels.

    Attributes:
        backbone: the trunk; it must keep the image's resolution.
        target: the target network.
        base: what the target networks correct; see `Base`.
        branch_scale: initial standard deviation of the emitted parameters, for unit features.
    """

    backbone: Backbone = dataclasses.field(default_factory=EDSR)
    target: Target = FourierField()
    base: Base = "bicubic"
    branch_scale: float = 0.05

    layout = PER_PIXEL

    def __post_init__(self) -> None:
        check_range(self, "branch_scale", least=0)
        if self.backbone.receptive_radius is None:
            raise ValueError(
                f"{type(self.backbone).__name__} has no receptive_radius, which tiles of an image "
                "need: use another --model.backbone, such as EDSR"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, mode: Mode = INFERENCE
    ) -> tuple[AnyTheta, Shared, Images | None]:
        """Emit theta, as a product of factors if the target network is linear, and the base."""
        observed, corrected = images, 1.0
        if self.base == "filled":
            images, known = fill_missing(images, mask)
            observed, corrected = jnp.concatenate([images, known], axis=-1), 1.0 - known
        features = self.backbone(observed, mask=mask, mode=mode).astype(jnp.float32)
        if features.shape[1:3] != images.shape[1:3]:
            raise ValueError(
                f"the backbone turned {images.shape[1:3]} pixels into {features.shape[1:3]} "
                "features: a PixelHypernetwork needs one that keeps the resolution, such as EDSR"
            )
        base = None if self.base == "none" else images
        if self.base in EMITTED_BASES:
            zeros = nn.initializers.zeros
            correct = nn.Dense(images.shape[-1], kernel_init=zeros, name="correction")
            base = images + corrected * correct(features)
        shared = self.param("shared", lambda key: self.target.init(key)[1])
        init = nn.initializers.normal(self.branch_scale / math.sqrt(features.shape[-1]))
        if self.target.is_linear:
            target = cast(FourierField, self.target)
            shape = (features.shape[-1], target.basis_size, target.channels)
            return FactoredTheta(features, self.param("branch", init, shape)), shared, base
        mean = self.param("mean", lambda key: self.target.init(key)[0])
        branch = nn.Dense(_count(mean), use_bias=False, kernel_init=init, name="branch")
        return PlainTheta(add_flat(mean, branch(features))), shared, base


class PatchHypernetwork(_MakesFunctions):
    """The paper's hypernetwork: it reads each window as an image, with a branch per target layer.

    Attributes:
        backbone: the common trunk of all branches.
        target: the target network.
        layout: the windows.
        base: what the target networks correct, "none" in the paper, or "bicubic".
        branch_width: channels of the branches' convolutions. The paper does not state it.
        branch_convs: convolutions of stride 2 in each branch. The paper does not state it.
        pool: a branch averages its features to ``pool`` x ``pool`` before its linear layer; 0
            keeps all features. The paper does not state it.
        code: outputs of a linear layer between the pooled features and the emitting layer, which
            bounds the rank of the emitted parameters and the number of the network's own; 0 for
            none. The paper does not state it.
        branch_scale: gain of the linear layers' initial weights. The paper does not state it.
        sliding: whether the trunk, which must keep the resolution, runs once over the image, so
            that overlapping windows share its features. The first convolution of a branch then has
            the size and stride of the windows, the others stride 1, and nothing is pooled. The
            paper does not state it.

    Reference: Klocek et al. 2019, Section 3.2 and Figure 5.
    """

    backbone: Backbone = dataclasses.field(default_factory=InceptionTrunk)
    target: Target = CosineMLP()
    layout: WindowLayout = WHOLE_IMAGE
    base: Base = "none"
    branch_width: int = 48
    branch_convs: int = 2
    pool: int = 4
    code: int = 0
    branch_scale: float = 0.05
    sliding: bool = False

    def __post_init__(self) -> None:
        check_range(self, "branch_width", least=1)
        if self.base in EMITTED_BASES:
            raise ValueError(
                f'base "{self.base}" needs a network per pixel: use "none" or "bicubic"'
            )
        check_range(self, "branch_convs", least=int(self.sliding))
        check_range(self, "pool", "code", "branch_scale", least=0)
        if self.sliding and self.backbone.receptive_radius is None:
            raise ValueError(
                f"{type(self.backbone).__name__} changes the resolution, and windows cannot slide "
                "over its features: use another --model.backbone, such as EDSR"
            )
        if self.sliding and (not self.layout.size or self.layout.overhang % 1):
            raise ValueError(
                f"{self.layout} cannot slide: give a size, and an overhang of whole pixels"
            )
        if self.sliding and self.layout.stride % self.backbone.alignment:
            raise ValueError(
                f"windows of stride {self.layout.stride} cannot slide over features of "
                f"{type(self.backbone).__name__}: give a multiple of {self.backbone.alignment}"
            )
        super().__post_init__()

    @property
    def context(self) -> int:
        """How many pixels around a window its target network depends on."""
        if not self.sliding or self.backbone.receptive_radius is None:
            return 0
        return self.backbone.receptive_radius + self.layout.stride * (self.branch_convs - 1)

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, mode: Mode = INFERENCE
    ) -> tuple[PlainTheta, Shared, Images | None]:
        """Emit theta, and the base."""
        grid = (images.shape[0], *self.layout.grid((images.shape[1], images.shape[2])))
        if self.sliding:
            features = self.backbone(images, mask=mask, mode=mode)
            features = pad_to_windows(features, self.layout)
        else:
            windows = extract_windows(images, self.layout)
            patches = windows.reshape(-1, *windows.shape[3:])
            features = self.backbone(patches, mask=mask, mode=mode)
        mean = self.param("mean", lambda key: self.target.init(key)[0])
        shared = self.param("shared", lambda key: self.target.init(key)[1])
        init = nn.initializers.variance_scaling(self.branch_scale**2, "fan_in", "normal")
        dense = partial(nn.Dense, dot_general=dot_for_flax if mode.fast_gradients else None)
        theta = {}
        for name, layer_mean in mean.items():
            x = features
            for i in range(self.branch_convs):
                x = self._make_convolution(i, f"{name}_conv_{i}")(x, mode=mode)
            x = x if self.sliding else pool_to(x, self.pool)
            x = x.reshape(math.prod(grid), -1).astype(jnp.float32)
            if self.code:
                x = dense(self.code, name=f"{name}_code")(x)
            flat = dense(_count(layer_mean), use_bias=False, kernel_init=init, name=name)(x)
            theta[name] = add_flat(layer_mean, flat.reshape(*grid, -1))
        return PlainTheta(theta), shared, None if self.base == "none" else images

    def _make_convolution(self, number: int, name: str) -> FactorizedConv:
        """Make a convolution of a branch, the first of which has the number 0."""
        size, stride, padding = 3, 2, "SAME"
        if self.sliding:
            stride = 1
            if number == 0:
                size, stride, padding = self.layout.size, self.layout.stride, "VALID"
        return FactorizedConv(
            self.branch_width, size, stride, self.backbone.dtype, padding, name=name
        )


def _count(parameters: Theta) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(parameters))


def add_flat(mean: Theta, flat: Float[Array, "*windows n"]) -> Theta:
    """Add flat offsets to ``mean``, so that training starts from the usual initialisation."""
    _, unflatten = ravel_pytree(mean)
    ones = [1] * (flat.ndim - 1)
    for _ in ones:
        unflatten = jax.vmap(unflatten)
    return jax.tree.map(lambda a, b: a.reshape(*ones, *a.shape) + b, mean, unflatten(flat))


def extract_windows(images: Images, layout: WindowLayout) -> Float[Array, "b gh gw p q c"]:
    """Cut out every window; beyond its border the image is mirrored."""

    def indices(pixels: int) -> Array:
        axis = layout.axis(pixels)
        first = math.floor(axis.first - axis.half_width)
        starts = first + jnp.arange(axis.count) * int(axis.stride)
        index = starts[:, None] + jnp.arange(layout.size or pixels)[None]
        return mirror_indices(index, pixels)

    rows, cols = indices(images.shape[1]), indices(images.shape[2])
    return images[:, rows[:, None, :, None], cols[None, :, None, :]]


def pad_to_windows(features: Float[Array, "b h w c"], layout: WindowLayout) -> Array:
    """Pad features with zeros to where the first window begins and the last one ends."""
    before = int(layout.overhang)
    pads = []
    for pixels in features.shape[1:3]:
        extent = (layout.axis(pixels).count - 1) * layout.stride + layout.size
        pads.append((before, extent - before - pixels))
    return jnp.pad(features, ((0, 0), *pads, (0, 0)))


Hypernetwork = PixelHypernetwork | PatchHypernetwork
