"""Layers whose kernels' gradients are fast on CPUs: convolutions and dense layers.

XLA's own convolutions take half of a training step on a CPU, at a third of the rate of a matrix
product; these take half that time (docs/experiments/cost-and-kernels.md).
"""

import functools
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Features = Float[Array, "b h w c"]
Outputs = Float[Array, "b h w d"]
Kernel = Float[Array, "3 3 c d"]

_AXES = ("NHWC", "HWIO", "NHWC")


@runtime_checkable
class TrainingLayers(Protocol):
    """Layers that another package offers for training, such as contrib/amx."""

    def suits(self, inputs: Features, kernel: Float[Array, "m n c d"]) -> bool:
        """Return whether there is a layer for these shapes and types."""
        ...

    def convolve(
        self, inputs: Features, kernel: Kernel, bias: Float[Array, " d"], is_rectified: bool
    ) -> Outputs:
        """Convolve 3x3, add the bias, and apply a ReLU on request."""
        ...

    def add_gated(
        self,
        shortcut: Features,
        features: Features,
        kernel: Float[Array, "1 1 c c"],
        bias: Float[Array, " c"],
        factor: float,
    ) -> Features:
        """Compute ``shortcut + factor * features * sigmoid(features * kernel + bias)``."""
        ...

    def check_use(self) -> None:
        """Raise a `UserError` if no step that was traced uses these layers."""
        ...


_registered: list[TrainingLayers] = []


def register_training_layers(layers: TrainingLayers | None) -> None:
    """Use other layers where they suit, in training steps traced from now on; None removes them."""
    _registered[:] = [] if layers is None else [layers]


def check_training_layers() -> None:
    """Refuse registered layers that no traced training step uses.

    Raises:
        UserError: no layer of the network suits them.
    """
    for layers in _registered:
        layers.check_use()


def _find_layers(inputs: Features, kernel: Float[Array, "m n c d"]) -> TrainingLayers | None:
    return next((layers for layers in _registered if layers.suits(inputs, kernel)), None)


def plain_convolve(
    inputs: Features, kernel: Float[Array, "m n c d"], padding: int | None = None
) -> Float[Array, "b y x d"]:
    """Convolve with ``padding`` zeros around the image; if None, as many as keep its size."""
    sides = "SAME" if padding is None else [(padding, padding)] * 2
    return lax.conv_general_dilated(inputs, kernel, (1, 1), sides, dimension_numbers=_AXES)


def convolve_and_add(
    inputs: Features,
    kernel: Float[Array, "n n c d"],
    bias: Float[Array, " d"],
    *,
    is_rectified: bool = False,
) -> Outputs:
    """Convolve 3x3 or 1x1 with zeros around the image, add the bias, and apply a ReLU on request.

    Values and gradients are XLA's, unless registered layers compute in a lower precision. A 3x3
    convolution has no forward-mode derivatives, so it is for training only.
    """
    if kernel.shape[:2] not in ((1, 1), (3, 3)):
        raise ValueError(f"the fast convolution is 3x3 or 1x1, not {kernel.shape[:2]}")
    if kernel.shape[0] == 1:
        outputs = jnp.einsum("bhwc,cd->bhwd", inputs, kernel[0, 0])
    elif layers := _find_layers(inputs, kernel):
        return layers.convolve(inputs, kernel, bias, is_rectified)
    else:
        outputs = convolve(inputs, kernel)
    outputs = outputs + bias.reshape(1, 1, 1, -1)
    return jax.nn.relu(outputs) if is_rectified else outputs


def add_gated(
    shortcut: Features,
    features: Features,
    kernel: Float[Array, "1 1 c c"],
    bias: Float[Array, " c"],
    factor: float,
) -> Features:
    """Add ``factor * features * sigmoid(features * kernel + bias)`` to a shortcut, for training."""
    if (layers := _find_layers(features, kernel)) and shortcut.dtype == features.dtype:
        return layers.add_gated(shortcut, features, kernel, bias, factor)
    logits = convolve_and_add(features, kernel, bias)
    return shortcut + factor * features * jax.nn.sigmoid(logits)


def convolve_for_flax(
    inputs: Features, kernel: Kernel, window_strides: Any, padding: Any, **others: Any
) -> Outputs:
    """Convolve 3x3, in place of `flax.linen.Conv.conv_general_dilated` with Flax' defaults.

    It is `convolve_and_add` with no bias: for training only.
    """
    del window_strides, padding, others
    return convolve_and_add(inputs, kernel, jnp.zeros(kernel.shape[-1], kernel.dtype))


@jax.custom_vjp
def convolve(inputs: Features, kernel: Kernel) -> Outputs:
    """Convolve like `plain_convolve`, with a faster gradient on CPUs."""
    return plain_convolve(inputs, kernel)


def _convolve_backward(kept: tuple[Features, Kernel], gradient: Outputs) -> tuple[Features, Kernel]:
    inputs, kernel = kept
    (for_inputs,) = jax.vjp(lambda x: plain_convolve(x, kernel), inputs)[1](gradient)
    for_kernel = lax.platform_dependent(
        inputs, gradient, cpu=kernel_gradient_as_product, default=kernel_gradient
    )
    return for_inputs, for_kernel


convolve.defvjp(lambda x, kernel: (plain_convolve(x, kernel), (x, kernel)), _convolve_backward)


def kernel_gradient(inputs: Features, gradient: Outputs) -> Kernel:
    """Compute the gradient of the kernel as XLA does it."""
    shape = (3, 3, inputs.shape[-1], gradient.shape[-1])
    kernel = jnp.zeros(shape, inputs.dtype)  # Any kernel: the convolution is linear in it.
    return jax.vjp(lambda k: plain_convolve(inputs, k), kernel)[1](gradient)[0]


def kernel_gradient_as_product(inputs: Features, gradient: Outputs) -> Kernel:
    """Compute the gradient of the kernel as a product of shifted copies.

    Inputs with few channels, such as images, are copied nine times. Otherwise three copies of the
    inputs, shifted by columns, are multiplied by three of the gradient, shifted by rows: fewer
    copies, and sides of 3 c and 3 d, which are long enough for a product's full rate.
    """
    height, width, channels = inputs.shape[1:]
    if 2 * channels <= gradient.shape[-1]:
        product = jnp.einsum("bhwc,bhwd->cd", lay_out_patches(inputs, (3, 3), 1), gradient)
        return product.reshape(3, 3, channels, -1)
    x = jnp.pad(inputs, ((0, 0), (0, 0), (1, 1), (0, 0)))
    columns = jnp.stack([x[:, :, j : j + width] for j in range(3)], axis=3)
    y = jnp.pad(gradient, ((0, 0), (1, 1), (0, 0), (0, 0)))
    rows = jnp.stack([y[:, 2 - i : 2 - i + height] for i in range(3)], axis=3)
    return jnp.einsum("bhwjc,bhwid->ijcd", columns, rows)


def convolve_depthwise(inputs: Features, kernel: Float[Array, "n n c"]) -> Features:
    """Convolve each channel with its own kernel of odd size, with zeros around the image.

    On a CPU a sum of shifted products takes a ninth of the time of XLA's grouped convolution
    (docs/experiments/cost-and-kernels.md); on a GPU the grouped convolution is faster.
    """
    return lax.platform_dependent(
        inputs, kernel, cpu=depthwise_as_sum, default=depthwise_as_grouped
    )


def depthwise_as_sum(inputs: Features, kernel: Float[Array, "n n c"]) -> Features:
    """Convolve each channel by a sum of shifted products."""
    taps = kernel.reshape(-1, 1, 1, 1, kernel.shape[-1])
    shifted = _shift(inputs, kernel.shape[:2], kernel.shape[0] // 2)
    return functools.reduce(jnp.add, (x * tap for x, tap in zip(shifted, taps, strict=True)))


def depthwise_as_grouped(inputs: Features, kernel: Float[Array, "n n c"]) -> Features:
    """Convolve each channel by XLA's convolution with one group per channel."""
    kernel, groups = kernel[:, :, None], inputs.shape[-1]
    return lax.conv_general_dilated(
        inputs, kernel, (1, 1), "SAME", dimension_numbers=_AXES, feature_group_count=groups
    )


def lay_out_patches(
    x: Float[Array, "b h w c"], size: tuple[int, int], padding: int
) -> Float[Array, "b y x n"]:
    """Concatenate the pixels of each patch, row by row, with zeros on each side of the features."""
    return jnp.concatenate(_shift(x, size, padding), axis=-1)


def _shift(x: Features, size: tuple[int, ...], padding: int) -> list[Float[Array, "b y x c"]]:
    """Return the pixels of patches for each place within a patch, row by row."""
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = (n - extent + 1 for n, extent in zip(x.shape[1:3], size, strict=True))
    return [x[:, i : i + height, j : j + width] for i in range(size[0]) for j in range(size[1])]


def convolve_line_for_flax(
    inputs: Features,
    kernel: Float[Array, "m n c d"],
    window_strides: tuple[int, int],
    padding: Any,
    **others: Any,
) -> Float[Array, "b y x d"]:
    """Convolve by 1 x n or n x 1, in place of `flax.linen.Conv.conv_general_dilated`.

    On CPUs XLA's gradients of n x 1 and strided kernels take twice the time of a product.
    """
    plain = functools.partial(
        lax.conv_general_dilated, window_strides=window_strides, padding=padding, **others
    )
    sides = (kernel.shape[0], kernel.shape[1])
    if min(sides) > 1 or (sides[0] == 1 and max(window_strides) == 1 and sides[1] > 1):
        return plain(inputs, kernel)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(inputs.shape[1:3], sides, window_strides, padding)

    def as_product(inputs: Features, kernel: Array) -> Array:
        x = jnp.pad(inputs, ((0, 0), *map(tuple, padding), (0, 0)))
        shifted = _shift(x, sides, 0)
        patches = [part[:, :: window_strides[0], :: window_strides[1]] for part in shifted]
        product = kernel.reshape(-1, kernel.shape[-1])
        return jnp.einsum("bhwf,fo->bhwo", jnp.concatenate(patches, axis=-1), product)

    return lax.platform_dependent(inputs, kernel, cpu=as_product, default=plain)


def dot_for_flax(
    inputs: Float[Array, "*b k"], kernel: Float[Array, "k n"], axes: Any, precision: Any = None
) -> Float[Array, "*b n"]:
    """Multiply, in place of `flax.linen.Dense.dot_general` with Flax' defaults.

    JAX computes the kernel's gradient transposed, and XLA transposes it back, element by element,
    wherever the optimiser reads it. That takes longer than all other work on a wide layer. There
    are no forward-mode derivatives.
    """
    if axes != (((inputs.ndim - 1,), (0,)), ((), ())) or precision is not None:
        raise ValueError(
            f"the fast product is of the last axis by the first, in the default precision, not "
            f"{axes} and {precision}: leave it to Flax"
        )
    return dense(inputs, kernel)


@jax.custom_vjp
def dense(inputs: Float[Array, "*b k"], kernel: Float[Array, "k n"]) -> Float[Array, "*b n"]:
    """Multiply by a matrix whose gradient has the memory layout of the matrix."""
    return inputs @ kernel


def _dense_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    inputs, kernel = kept
    return (
        jnp.einsum("...n,kn->...k", gradient, kernel),
        jnp.einsum("...k,...n->kn", inputs, gradient),
    )


dense.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _dense_backward)
