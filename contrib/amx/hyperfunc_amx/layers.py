"""The layers: foreign calls into kernels.cc, with their gradients.

Products are of bfloat16 and sums of float32. XLA does not divide a foreign call over devices, so
each device of the mesh is given its part of the batch.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

TARGETS = (
    "HyperfuncConvolve",
    "HyperfuncDifferentiateConvolution",
    "HyperfuncGate",
    "HyperfuncDifferentiateGate",
)
"""Functions of kernels.cc that XLA calls."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def convolve(
    inputs: Float[Array, "b h w c"],
    kernel: Float[Array, "3 3 c d"],
    bias: Float[Array, " d"],
    is_rectified: bool,
    mesh: Mesh,
) -> Float[Array, "b h w d"]:
    """Convolve 3x3 with zeros around the image, add the bias, and apply a ReLU on request.

    Only reverse-mode derivatives exist.

    Args:
        inputs: Features.
        kernel: Weights.
        bias: One number per output channel.
        is_rectified: Whether a ReLU follows.
        mesh: Devices; the batch is divided along the first axis.
    """
    return _convolve(inputs, kernel, bias, is_rectified, mesh)[0]


def _convolve(
    inputs: Array, kernel: Array, bias: Array, is_rectified: bool, mesh: Mesh
) -> tuple[Array, Any]:
    def one_device(inputs: Array, kernel: Array, bias: Array) -> Array:
        shape = (*inputs.shape[:3], kernel.shape[3])
        call = _foreign_call("HyperfuncConvolve", shape)
        return call(inputs, kernel, bias, is_rectified=is_rectified)

    outputs = _on_each_device(mesh, one_device, "b..", "b")(inputs, kernel, bias)
    # The zeros of the ReLU are read from the outputs, which the next layer keeps anyway.
    return outputs, (inputs, kernel, outputs if is_rectified else None)


def _differentiate_convolution(is_rectified: bool, mesh: Mesh, kept: Any, gradient: Array) -> Any:
    inputs, kernel, outputs = kept

    def one_device(inputs: Array, turned: Array, outputs: Array, gradient: Array) -> Any:
        shapes = inputs.shape, kernel.shape, gradient.shape[3:]
        call = _foreign_call("HyperfuncDifferentiateConvolution", *shapes)
        first, *rest = call(inputs, turned, outputs, gradient, is_rectified=is_rectified)
        return first, *jax.lax.psum(rest, mesh.axis_names[0])

    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    outputs = gradient if outputs is None else outputs
    return _on_each_device(mesh, one_device, "b.bb", "b..")(inputs, turned, outputs, gradient)


convolve.defvjp(_convolve, _differentiate_convolution)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def add_gated(
    shortcut: Float[Array, "b h w c"],
    features: Float[Array, "b h w c"],
    kernel: Float[Array, "1 1 c c"],
    bias: Float[Array, " c"],
    factor: float,
    mesh: Mesh,
) -> Float[Array, "b h w c"]:
    """Compute ``shortcut + factor * features * sigmoid(features * kernel + bias)``.

    Only reverse-mode derivatives exist.
    """
    return _add_gated(shortcut, features, kernel, bias, factor, mesh)[0]


def _add_gated(
    shortcut: Array, features: Array, kernel: Array, bias: Array, factor: float, mesh: Mesh
) -> tuple[Array, Any]:
    def one_device(*arrays: Array) -> Array:
        return _foreign_call("HyperfuncGate", arrays[0].shape)(*arrays, factor=np.float32(factor))

    outputs = _on_each_device(mesh, one_device, "bb..", "b")(shortcut, features, kernel, bias)
    return outputs, (features, kernel, bias)


def _differentiate_gated(factor: float, mesh: Mesh, kept: Any, gradient: Array) -> Any:
    features, kernel, bias = kept

    def one_device(features: Array, *others: Array) -> Any:
        shapes = features.shape, kernel.shape, bias.shape
        call = _foreign_call("HyperfuncDifferentiateGate", *shapes)
        first, *rest = call(features, *others, factor=np.float32(factor))
        return first, *jax.lax.psum(rest, mesh.axis_names[0])

    arrays = features, kernel, kernel.swapaxes(2, 3), bias, gradient
    return gradient, *_on_each_device(mesh, one_device, "b...b", "b..")(*arrays)


add_gated.defvjp(_add_gated, _differentiate_gated)


def _foreign_call(name: str, *shapes: tuple[int, ...]) -> Callable[..., Any]:
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.ffi.ffi_call(name, results if len(results) > 1 else results[0])


def _on_each_device(
    mesh: Mesh, function: Callable[..., Any], inputs: str, outputs: str
) -> Callable[..., Any]:
    """Run a function on each device with that device's part of the batch.

    Args:
        mesh: The devices.
        function: Works on the part of one device.
        inputs: A letter for each argument: "b" if it is divided along its batch axis, "." if every
            device has all of it.
        outputs: The same for the results.
    """
    specs = {"b": PartitionSpec(mesh.axis_names[0]), ".": PartitionSpec()}
    in_specs, out_specs = ([specs[letter] for letter in x] for x in (inputs, outputs))
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=tuple(in_specs),
        out_specs=tuple(out_specs) if len(out_specs) > 1 else out_specs[0],
        check_vma=False,
    )
