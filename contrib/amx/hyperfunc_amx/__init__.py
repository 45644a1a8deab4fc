"""Training layers for AMX, the matrix units of Intel's Xeons (4th generation and later).

XLA does not use these units for convolutions. `enable` registers layers that do, through
`hyperfunc.networks.register_training_layers`; `disable` removes them.
"""

import ctypes

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from hyperfunc.errors import UserError
from hyperfunc.networks import register_training_layers
from hyperfunc_amx import layers
from hyperfunc_amx.build import compile_kernels, cpu_features

__all__ = ["AmxLayers", "disable", "enable"]

NEEDED = {"amx_bf16", "amx_tile", "avx512_bf16"}
"""Features of a processor, as Linux names them."""


class AmxLayers:
    """Layers for float32 features whose sizes fill whole tiles of the matrix units.

    Attributes:
        mesh: CPU devices; batches are divided along its first axis.
        is_used: Whether any layer has been traced with AMX.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.is_used = False

    def suits(self, inputs: Float[Array, "b h w c"], kernel: Float[Array, "m n c d"]) -> bool:
        """Return whether AMX has a layer for these shapes and types.

        A 3x3 kernel suits `convolve`; a square 1x1 kernel suits `add_gated`.
        """
        images, height, width, _ = inputs.shape
        rows, cols, inner, outer = kernel.shape
        return (
            ((rows, cols) == (3, 3) or ((rows, cols) == (1, 1) and inner == outer))
            and not (inner % 16 or outer % 16)
            and not (images % self.mesh.size or height % 2 or width % 16)
            and inputs.dtype == kernel.dtype == jnp.float32
        )

    def convolve(
        self,
        inputs: Float[Array, "b h w c"],
        kernel: Float[Array, "3 3 c d"],
        bias: Float[Array, " d"],
        is_rectified: bool,
    ) -> Float[Array, "b h w d"]:
        """Convolve, add the bias, and apply a ReLU on request."""
        self.is_used = True
        return layers.convolve(inputs, kernel, bias, is_rectified, self.mesh)

    def add_gated(
        self,
        shortcut: Float[Array, "b h w c"],
        features: Float[Array, "b h w c"],
        kernel: Float[Array, "1 1 c c"],
        bias: Float[Array, " c"],
        factor: float,
    ) -> Float[Array, "b h w c"]:
        """Add gated features to a shortcut."""
        self.is_used = True
        return layers.add_gated(shortcut, features, kernel, bias, factor, self.mesh)

    def check_use(self) -> None:
        """Refuse a training step that uses no layer of these; call it after tracing the step.

        Raises:
            UserError: No layer of the network suits AMX.
        """
        if not self.is_used:
            raise UserError(
                "--amx=True does nothing here: it computes 3x3 convolutions and gates in float32 "
                "whose channels are multiples of 16, for batches that the devices divide, of an "
                "even number of rows and a multiple of 16 columns: leave it out, or change the "
                "sizes"
            )


def enable(mesh: Mesh) -> AmxLayers:
    """Use AMX in every training step that is traced from now on.

    Args:
        mesh: CPU devices; its first axis is the one along which batches are divided.

    Returns:
        The layers that were registered.

    Raises:
        UserError: The machine has no AMX or does not allow it, or the kernels cannot be compiled.
    """
    if any(device.platform != "cpu" for device in mesh.devices.flat):
        raise UserError("--amx works on CPUs, and JAX uses another device: leave it out")
    missing = NEEDED - cpu_features()
    if missing:
        raise UserError(
            f"--amx needs a CPU with {', '.join(sorted(NEEDED))}, and this one lacks "
            f"{', '.join(sorted(missing))}: leave it out"
        )
    path = compile_kernels()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise UserError(f"cannot load {path} ({error}): remove it and try again") from error
    library.HyperfuncIsAllowed.restype = ctypes.c_bool
    if not library.HyperfuncIsAllowed():
        raise UserError("--amx: the operating system does not allow the use of AMX: leave it out")
    for name in layers.TARGETS:
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(library[name]), platform="cpu")
    registered = AmxLayers(mesh)
    register_training_layers(registered)
    return registered


def disable() -> None:
    """Use XLA's layers in every training step that is traced from now on."""
    register_training_layers(None)
