"""Hypernetworks: Flax Linen modules from an image to theta, the parameters of its target networks.

Both hypernetworks here return (theta, shared) with theta's leading axes [b, window rows, window
columns]. They differ in what a window sees: `PixelHypernetwork` runs its trunk once over the
image, so each window sees a large neighbourhood; `PatchHypernetwork`, the paper's, reads each
window as an image of its own. To add one: write the module and name it in the union at the foot of
the file.
"""

import dataclasses
import math
from typing import Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.errors import check_range
from hyperfunc.networks.backbones import (
    EDSR,
    Backbone,
    FactorizedConv,
    InceptionTrunk,
    Mask,
    Precision,
)
from hyperfunc.networks.cpu_gradients import dot_for_flax
from hyperfunc.networks.targets import CosineMLP, FourierField, Target
from hyperfunc.pixels import PER_PIXEL, WHOLE_IMAGE, WindowLayout, mirror_indices
from hyperfunc.types import Images, Shared, Theta

Base = Literal["none", "bicubic"]


@flax.struct.dataclass
class FactoredTheta:
    """Theta of a linear target network, still as a product: coefficients = features . kernel.

    A renderer may fold the kernel into the target network's basis and never form theta.
    """

    features: Float[Array, "b gh gw f"]
    kernel: Float[Array, "f d c"]

    def expand(self) -> Theta:
        """Multiply out: {"coefficients": [b, gh, gw, d, c]}."""
        return {"coefficients": jnp.einsum("bhwf,fdc->bhwdc", self.features, self.kernel)}


class PixelHypernetwork(nn.Module):
    """One trunk over the whole image, and a target network for each of its pixels.

    Attributes:
        backbone: must keep the image's resolution.
        target: the target network.
        base: what the target networks correct: "bicubic" interpolation of the input, or "none".
        branch_scale: standard deviation of the emitted parameters at the start, for unit features.
    """

    backbone: Backbone = dataclasses.field(default_factory=EDSR)
    target: Target = FourierField()
    base: Base = "bicubic"
    branch_scale: float = 0.05

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self, "branch_scale", least=0)
        _check_has(self.backbone, "dtype", "receptive_radius")
        super().__post_init__()

    @property
    def layout(self) -> WindowLayout:
        """One window per pixel."""
        return PER_PIXEL

    @property
    def fixed_scale(self) -> None:
        """It makes functions, which can be rendered at any scale."""

    @property
    def depends_on_footprint(self) -> bool:
        """Whether the base or the target network averages over an output pixel."""
        return self.base != "none" or self.target.depends_on_footprint

    def with_dtype(self, dtype: Precision) -> "PixelHypernetwork":
        """Return the same network with its backbone computing in another precision."""
        return self.clone(backbone=self.backbone.clone(dtype=dtype))

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, train: bool = False
    ) -> tuple[Theta | FactoredTheta, Shared]:
        """Emit theta; as a `FactoredTheta` where the target network is linear."""
        features = self.backbone(images, mask=mask, train=train).astype(jnp.float32)
        if features.shape[1:3] != images.shape[1:3]:
            raise ValueError(
                f"the backbone turned {images.shape[1:3]} pixels into {features.shape[1:3]} "
                "features: a PixelHypernetwork needs one that keeps the resolution, such as EDSR"
            )
        shared = learn_shared(self, self.target)
        init = nn.initializers.normal(self.branch_scale / math.sqrt(features.shape[-1]))
        if isinstance(self.target, FourierField):
            shape = (features.shape[-1], self.target.basis_size, self.target.channels)
            return FactoredTheta(features, self.param("branch", init, shape)), shared
        mean = learn_mean(self, self.target)
        offsets = nn.Dense(count_parameters(mean), use_bias=False, kernel_init=init, name="branch")(
            features
        )
        return add_flat(mean, offsets), shared


class PatchHypernetwork(nn.Module):
    """The paper's hypernetwork: reads each window as an image, one branch per target layer.

    Attributes:
        backbone: common trunk of all branches.
        target: the target network.
        layout: the windows.
        base: what the target networks correct, "none" in the paper.
        branch_width: channels of the branches' convolutions. Not given by the paper.
        branch_convs: convolutions of stride 2 in each branch. Not given by the paper.
        pool: the branch's features are averaged to ``pool`` x ``pool`` before its linear layer; 0
            keeps them all. Not given by the paper.
        code: outputs of a linear layer between the pooled features and the emitting one, which
            bounds the rank of what is emitted and the number of parameters; 0 for none. Not given
            by the paper.
        branch_scale: gain on the linear layers' initial weights. Not given by the paper.

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

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self, "branch_width", least=1)
        check_range(self, "branch_convs", "pool", "code", "branch_scale", least=0)
        _check_has(self.backbone, "dtype")
        super().__post_init__()

    @property
    def fixed_scale(self) -> None:
        """It makes functions, which can be rendered at any scale."""

    @property
    def depends_on_footprint(self) -> bool:
        """Whether the base or the target network averages over an output pixel."""
        return self.base != "none" or self.target.depends_on_footprint

    def with_dtype(self, dtype: Precision) -> "PatchHypernetwork":
        """Return the same network with its backbone computing in another precision."""
        return self.clone(backbone=self.backbone.clone(dtype=dtype))

    @nn.compact
    def __call__(
        self, images: Images, *, mask: Mask | None = None, train: bool = False
    ) -> tuple[Theta, Shared]:
        """Emit theta."""
        windows = extract_windows(images, self.layout)
        grid = windows.shape[:3]
        patches = windows.reshape(-1, *windows.shape[3:])
        features = self.backbone(patches, mask=mask, train=train)
        mean, shared = learn_mean(self, self.target), learn_shared(self, self.target)
        theta = {}
        for name, layer_mean in mean.items():
            x = features
            for i in range(self.branch_convs):
                x = FactorizedConv(
                    self.branch_width, 3, 2, dtype=self.backbone.dtype, name=f"{name}_conv_{i}"
                )(x, train=train)
            x = pool_to(x, self.pool).reshape(x.shape[0], -1).astype(jnp.float32)
            dot = dot_for_flax if train else None
            if self.code:
                x = nn.Dense(self.code, dot_general=dot, name=f"{name}_code")(x)
            flat = nn.Dense(
                count_parameters(layer_mean),
                use_bias=False,
                kernel_init=nn.initializers.variance_scaling(
                    self.branch_scale**2, "fan_in", "normal"
                ),
                dot_general=dot,
                name=name,
            )(x)
            theta[name] = add_flat(layer_mean, flat.reshape(*grid, -1))
        return theta, shared


def learn_shared(module: nn.Module, target: Target) -> Shared:
    """Declare the parameters that all target networks share."""
    return module.param("shared", lambda key: target.init(key)[1])


def learn_mean(module: nn.Module, target: Target) -> Theta:
    """Declare the mean of theta, drawn as a target network's own initial parameters.

    What the hypernetwork emits is an offset from the mean, so that training starts from target
    networks that are initialised as such.
    """
    return module.param("mean", lambda key: target.init(key)[0])


def count_parameters(tree: Theta) -> int:
    """Number of scalars in a parameter pytree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def add_flat(mean: Theta, flat: Float[Array, "*windows n"]) -> Theta:
    """Cut flat offsets into the leaves of ``mean`` and add them to it."""
    leaves, structure = jax.tree.flatten(mean)
    ends = [0]
    for leaf in leaves:
        ends.append(ends[-1] + leaf.size)
    windows = flat.shape[:-1]
    parts = [
        leaf.reshape(*[1] * len(windows), *leaf.shape)
        + flat[..., start:end].reshape(*windows, *leaf.shape)
        for leaf, start, end in zip(leaves, ends, ends[1:], strict=False)
    ]
    return jax.tree.unflatten(structure, parts)


def extract_windows(images: Images, layout: WindowLayout) -> Float[Array, "b gh gw p q c"]:
    """Cut out every window; what reaches over the border is mirrored."""

    def indices(pixels: int) -> Array:
        axis = layout.axis(pixels)
        first = math.floor(axis.first - axis.half_width)
        starts = first + jnp.arange(axis.count) * int(axis.stride)
        index = starts[:, None] + jnp.arange(layout.size or pixels)[None]
        return mirror_indices(index, pixels)

    rows, cols = indices(images.shape[1]), indices(images.shape[2])
    return images[:, rows[:, None, :, None], cols[None, :, None, :]]


def _check_has(backbone: Backbone, *names: str) -> None:
    missing = [name for name in names if not hasattr(backbone, name)]
    if missing:
        raise ValueError(
            f"{type(backbone).__name__} has no {' and no '.join(missing)}, which a backbone needs "
            "here: see the top of hyperfunc/networks/backbones.py, or use another --model.backbone"
        )


def pool_to(x: Float[Array, "b h w c"], size: int) -> Float[Array, "b y x c"]:
    """Average to size x size, as it is along an axis that is no longer, or where size is 0.

    Cells are those of adaptive average pooling: where they cannot be equal, neighbours overlap.
    """
    for axis in (1, 2):
        n = x.shape[axis]
        if 0 < size < n:
            cells = [(i * n // size, -(-(i + 1) * n // size)) for i in range(size)]
            parts = [jax.lax.slice_in_dim(x, low, high, axis=axis) for low, high in cells]
            x = jnp.stack([part.mean(axis=axis) for part in parts], axis=axis)
    return x


Hypernetwork = PixelHypernetwork | PatchHypernetwork
