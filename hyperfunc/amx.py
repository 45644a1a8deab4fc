"""3x3 convolutions for training on AMX, the matrix units of Intel's Xeons (4th generation and on).

XLA does not use these units for convolutions. The products are of bfloat16 and the sums float32;
`sr` trains 2.7 times as fast (docs/experiments.md, "Training on AMX").
"""

import ctypes
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from hyperfunc.errors import UserError

SOURCE = Path(__file__).with_name("amx.cc")
FLAGS = ("-O3", "-std=c++17", "-march=sapphirerapids", "-shared", "-fPIC")
NEEDED = {"amx_bf16", "amx_tile", "avx512_bf16"}
"""Features of a processor, as Linux names them."""

_meshes: list[Mesh] = []
"""The mesh along whose first axis batches are cut; none as long as AMX is not in use."""


def enable(mesh: Mesh) -> None:
    """Let `suits` be true from now on.

    The code is compiled at the first call, by the C++ compiler named by CXX (g++ if it is not set),
    and kept in ~/.cache/hyperfunc (XDG_CACHE_HOME).

    Args:
        mesh: its devices must be CPUs, its first axis the one along which batches are cut.

    Raises:
        UserError: the machine has no AMX or does not allow it, or the code cannot be compiled.
    """
    if any(device.platform != "cpu" for device in mesh.devices.flat):
        raise UserError("--amx is for CPUs, and JAX uses another device: leave it out")
    missing = NEEDED - _cpu_features()
    if missing:
        raise UserError(
            f"--amx needs a CPU with {', '.join(sorted(NEEDED))}, and this one lacks "
            f"{', '.join(sorted(missing))}: leave it out"
        )
    path = build()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise UserError(f"cannot load {path} ({error}): remove it and try again") from error
    library.HyperfuncIsAllowed.restype = ctypes.c_bool
    if not library.HyperfuncIsAllowed():
        raise UserError("--amx: the operating system does not allow the use of AMX: leave it out")
    for name in ("HyperfuncConvolve", "HyperfuncSumProducts"):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(library[name]), platform="cpu")
    _meshes[:] = [mesh]


def disable() -> None:
    """Undo `enable`, for what is traced from now on."""
    _meshes.clear()


def suits(inputs: Float[Array, "b h w c"], kernel: Float[Array, "m n c d"]) -> bool:
    """Whether AMX is in use and has a convolution for these: 3x3 of float32, whole tiles."""
    if not _meshes:
        return False
    images, height, width, _ = inputs.shape
    return (
        kernel.shape[:2] == (3, 3)
        and not (kernel.shape[2] % 32 or kernel.shape[3] % 32)
        and not (images % _meshes[0].size or height % 2 or width % 16)
        and inputs.dtype == kernel.dtype == jnp.float32
    )


def convolve(
    inputs: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c d"]
) -> Float[Array, "b h w d"]:
    """Convolve with zeros around the image; the arguments must suit."""

    def one_device(inputs: Any, kernel: Any) -> Any:
        shape = (*inputs.shape[:3], kernel.shape[3])
        return _call("HyperfuncConvolve", shape, inputs, kernel)

    batch = PartitionSpec(_meshes[0].axis_names[0])
    return _on_each_device(one_device, (batch, PartitionSpec()), batch)(inputs, kernel)


def input_gradient(
    gradient: Float[Array, "b h w d"], kernel: Float[Array, "3 3 c d"]
) -> Float[Array, "b h w c"]:
    """The gradient to the inputs of `convolve`: a convolution with the kernel turned around."""
    return convolve(gradient, kernel[::-1, ::-1].swapaxes(2, 3))


def kernel_gradient(
    inputs: Float[Array, "b h w c"], gradient: Float[Array, "b h w d"]
) -> Float[Array, "3 3 c d"]:
    """The gradient to the kernel of `convolve`."""
    axis = _meshes[0].axis_names[0]

    def one_device(inputs: Any, gradient: Any) -> Any:
        shape = (3, 3, inputs.shape[3], gradient.shape[3])
        return jax.lax.psum(_call("HyperfuncSumProducts", shape, inputs, gradient), axis)

    batch = PartitionSpec(axis)
    return _on_each_device(one_device, (batch, batch), PartitionSpec())(inputs, gradient)


def build() -> Path:
    """Compile `SOURCE`, unless that has been done before, and say where the library is.

    Raises:
        UserError: there is no compiler, or it fails.
    """
    compiler = os.environ.get("CXX") or "g++"
    recipe = f"{SOURCE.read_text()}{compiler}{FLAGS}{importlib.metadata.version('jaxlib')}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyperfunc"
    library = cache / f"amx-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            built = Path(folder) / library.name
            _compile(compiler, built)
            built.replace(library)
    except OSError as error:
        raise UserError(
            f"cannot write {library} ({error}): name another folder by XDG_CACHE_HOME"
        ) from error
    return library


def _compile(compiler: str, library: Path) -> None:
    command = [*shlex.split(compiler), *FLAGS, f"-I{jax.ffi.include_dir()}", str(SOURCE)]
    try:
        subprocess.run([*command, "-o", str(library)], check=True, capture_output=True, text=True)
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(
            f"--amx needs a C++ compiler, and {compiler} cannot be run: install g++ 12 or newer, "
            "name another by CXX, or leave --amx out"
        ) from error
    except subprocess.CalledProcessError as error:
        reason = next((x for x in error.stderr.splitlines() if "error" in x), error.stderr)
        raise UserError(
            f"{compiler} cannot compile {SOURCE} ({reason.strip()}): name another compiler by "
            "CXX (g++ 12 or newer can), or leave --amx out"
        ) from error


def _cpu_features() -> set[str]:
    """What the processor can do, as Linux says; nothing elsewhere."""
    if platform.system() != "Linux":
        return set()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _call(name: str, shape: tuple[int, ...], *arrays: Any) -> Any:
    return jax.ffi.ffi_call(name, jax.ShapeDtypeStruct(shape, jnp.float32))(*arrays)


def _on_each_device(function: Callable[..., Any], in_specs: Any, out_specs: Any) -> Any:
    """Foreign calls are not divided by XLA: give each device its part of the batch."""
    return jax.shard_map(
        function, mesh=_meshes[0], in_specs=in_specs, out_specs=out_specs, check_vma=False
    )
