"""Layers for training on AMX, the matrix units of Intel's Xeons (4th generation and on).

XLA does not use these units for convolutions. The products are of bfloat16 and the sums float32;
bias, rectifier and gate are computed where the products are, while they are in the cache. `sr`
trains more than three times as fast (docs/experiments.md, "Fifteen more minutes of an H100").
"""

import ctypes
import functools
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from hyperfunc.errors import UserError

SOURCE = Path(__file__).with_name("amx.cc")
FLAGS = ("-O3", "-std=c++17", "-march=sapphirerapids", "-shared", "-fPIC")
NEEDED = {"amx_bf16", "amx_tile", "avx512_bf16"}
"""Features of a processor, as Linux names them."""
TARGETS = (
    "HyperfuncConvolve",
    "HyperfuncDifferentiateConvolution",
    "HyperfuncGate",
    "HyperfuncDifferentiateGate",
)
"""Functions of `SOURCE` that XLA may call."""

_meshes: list[Mesh] = []
"""The mesh along whose first axis batches are cut; none as long as AMX is not in use."""

_has_suited = threading.Event()
"""Set once a layer has been found that suits."""


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
    for name in TARGETS:
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(library[name]), platform="cpu")
    _meshes[:] = [mesh]
    _has_suited.clear()


def disable() -> None:
    """Undo `enable`, for what is traced from now on."""
    _meshes.clear()
    _has_suited.clear()


def suits(inputs: Float[Array, "b h w c"], kernel: Float[Array, "m n c d"]) -> bool:
    """Whether AMX is in use and has a layer for these, of float32 and in whole tiles.

    That is `convolve` for a kernel of 3x3, and `add_gated` for a square one of 1x1.
    """
    if not _meshes:
        return False
    images, height, width, _ = inputs.shape
    rows, cols, inner, outer = kernel.shape
    does = (
        ((rows, cols) == (3, 3) or ((rows, cols) == (1, 1) and inner == outer))
        and not (inner % 16 or outer % 16)
        and not (images % _meshes[0].size or height % 2 or width % 16)
        and inputs.dtype == kernel.dtype == jnp.float32
    )
    if does:
        _has_suited.set()
    return does


def check_use() -> None:
    """Refuse to be of no use, once a step has been traced.

    Raises:
        UserError: AMX is on, and nothing has suited it.
    """
    if _meshes and not _has_suited.is_set():
        raise UserError(
            "--amx=True does nothing here: it computes 3x3 convolutions and gates of float32, of "
            "multiples of 16 channels, for batches that the devices divide, of an even number of "
            "rows and a multiple of 16 columns: leave it out, or change what does not suit"
        )


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def convolve(
    inputs: Float[Array, "b h w c"],
    kernel: Float[Array, "3 3 c d"],
    bias: Float[Array, " d"],
    is_rectified: bool,
) -> Float[Array, "b h w d"]:
    """Convolve 3x3 with zeros around the image, add the bias, and rectify if asked for.

    The arguments must suit. There are reverse-mode derivatives only.
    """
    return _convolve(inputs, kernel, bias, is_rectified)[0]


def _convolve(inputs: Array, kernel: Array, bias: Array, is_rectified: bool) -> tuple[Array, Any]:
    def one_device(inputs: Array, kernel: Array, bias: Array) -> Array:
        shape = (*inputs.shape[:3], kernel.shape[3])
        call = _target("HyperfuncConvolve", shape)
        return call(inputs, kernel, bias, is_rectified=is_rectified)

    outputs = _on_each_device(one_device, "b..", "b")(inputs, kernel, bias)
    # What the rectifier made zero is seen in the outputs, which the next layer keeps, too.
    return outputs, (inputs, kernel, outputs if is_rectified else None)


def _differentiate_convolution(is_rectified: bool, kept: Any, gradient: Array) -> Any:
    inputs, kernel, outputs = kept

    def one_device(inputs: Array, turned: Array, outputs: Array, gradient: Array) -> Any:
        shapes = inputs.shape, kernel.shape, gradient.shape[3:]
        call = _target("HyperfuncDifferentiateConvolution", *shapes)
        first, *rest = call(inputs, turned, outputs, gradient, is_rectified=is_rectified)
        return first, *jax.lax.psum(rest, _axis())

    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    outputs = gradient if outputs is None else outputs
    return _on_each_device(one_device, "b.bb", "b..")(inputs, turned, outputs, gradient)


convolve.defvjp(_convolve, _differentiate_convolution)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def add_gated(
    shortcut: Float[Array, "b h w c"],
    features: Float[Array, "b h w c"],
    kernel: Float[Array, "1 1 c c"],
    bias: Float[Array, " c"],
    factor: float,
) -> Float[Array, "b h w c"]:
    """Add ``factor * features * sigmoid(features * kernel + bias)`` to a shortcut.

    The arguments must suit. There are reverse-mode derivatives only.
    """
    return _add_gated(shortcut, features, kernel, bias, factor)[0]


def _add_gated(
    shortcut: Array, features: Array, kernel: Array, bias: Array, factor: float
) -> tuple[Array, Any]:
    def one_device(*arrays: Array) -> Array:
        return _target("HyperfuncGate", arrays[0].shape)(*arrays, factor=np.float32(factor))

    outputs = _on_each_device(one_device, "bb..", "b")(shortcut, features, kernel, bias)
    return outputs, (features, kernel, bias)


def _differentiate_gated(factor: float, kept: Any, gradient: Array) -> Any:
    features, kernel, bias = kept

    def one_device(features: Array, *others: Array) -> Any:
        shapes = features.shape, kernel.shape, bias.shape
        call = _target("HyperfuncDifferentiateGate", *shapes)
        first, *rest = call(features, *others, factor=np.float32(factor))
        return first, *jax.lax.psum(rest, _axis())

    arrays = features, kernel, kernel.swapaxes(2, 3), bias, gradient
    return gradient, *_on_each_device(one_device, "b...b", "b..")(*arrays)


add_gated.defvjp(_add_gated, _differentiate_gated)


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


def _axis() -> str:
    return _meshes[0].axis_names[0]


def _target(name: str, *shapes: tuple[int, ...]) -> Callable[..., Any]:
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.ffi.ffi_call(name, results if len(results) > 1 else results[0])


def _on_each_device(function: Callable[..., Any], inputs: str, outputs: str) -> Callable[..., Any]:
    """Foreign calls are not divided by XLA: give each device its part of the batch.

    Args:
        function: what each device does.
        inputs: a letter for each argument: b for what has a batch, a point for what all share.
        outputs: the same of the results.
    """
    specs = {"b": PartitionSpec(_axis()), ".": PartitionSpec()}
    in_specs, out_specs = ([specs[letter] for letter in x] for x in (inputs, outputs))
    return jax.shard_map(
        function,
        mesh=_meshes[0],
        in_specs=tuple(in_specs),
        out_specs=tuple(out_specs) if len(out_specs) > 1 else out_specs[0],
        check_vma=False,
    )
