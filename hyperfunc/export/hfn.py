"""Functional images in files (``.hfn``): a documented, versioned format that contains no code.

A file is a safetensors file, so any safetensors reader opens it. ``docs/format.md`` describes its
metadata and arrays, and `hyperfunc.export.numpy_decoder` renders it without JAX. Files may come
from strangers: a file is either understood or refused with a `UserError`, and what is allocated
stays in proportion to the size of the file.
"""

import functools
import json
import math
import os
import typing
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save as to_safetensors

import hyperfunc
from hyperfunc.errors import UserError
from hyperfunc.experiment import from_plain, to_plain
from hyperfunc.export.checked_file import ArrayReader, InvalidFile, open_checked, shorten, show
from hyperfunc.export.packing import (
    MIN_WINDOWS_PER_SCALE,
    quantize_base,
    quantize_int8,
    without_padding,
)
from hyperfunc.files import as_path, replacing
from hyperfunc.function import FunctionalImage
from hyperfunc.networks import FactoredTheta, PlainTheta, Target
from hyperfunc.pixels import WindowLayout
from hyperfunc.values import to_unit_range

FORMAT = "hyperfunc"
VERSION = 1
"""Version of the format; it rises when an older reader would misunderstand new files."""

Quantization = Literal["int8", "float16"]

MAX_SIDE = 1 << 24
"""Pixels."""


def save_function(
    path: str | os.PathLike[str],
    function: FunctionalImage,
    *,
    quantize: Quantization | None = "int8",
    about: Mapping[str, str] | None = None,
) -> None:
    """Write a functional image to a file.

    Parameters that all windows share are stored in float32. A base image that was made of 8 or 16
    bits is stored in as many, without loss; otherwise it is stored in float32. Windows that only
    pad a tile are left out, with the pixels under them.

    Args:
        path: of the file, by convention with the suffix ``.hfn``. The data are written to a
            temporary file beside it, which is then renamed.
        function: one or more images.
        quantize: how to store theta: "int8", with a scale for each feature or parameter of each
            row of windows (the default: it loses less than rounding an image to 8 bits, see
            ``docs/format.md``), "float16", or None for float32.
        about: notes for the header, such as the name and step of the model.

    Raises:
        ValueError: ``quantize`` is none of these.
        UserError: theta is not finite or does not fit float16, or the file cannot be written.
    """
    if quantize not in (None, *typing.get_args(Quantization)):
        raise ValueError(f'quantize {quantize!r}: give "int8", "float16" or None')
    function = without_padding(function)
    arrays: dict[str, np.ndarray] = {}
    parameters = {"theta": function.theta.arrays(), "shared": function.shared}
    for path_in_tree, leaf in jax.tree.leaves_with_path(parameters):
        name = _name(path_in_tree)
        is_emitted = name.startswith("theta.") and name != "theta.kernel"
        _add_array(arrays, name, np.asarray(leaf), quantize if is_emitted else None)
    if function.base is not None:
        arrays["base"] = quantize_base(np.asarray(function.base))
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "writer": f"hyperfunc {hyperfunc.__version__}",
        "target": json.dumps(to_plain(function.target, Target)),
        "windows": json.dumps(to_plain(function.layout, WindowLayout)),
        "size": json.dumps(list(function.size)),
        "base": "none" if function.base is None else "bicubic",
        "quantization": quantize or "none",
        "about": json.dumps(dict(about or {})),
    }
    # safetensors reads the memory of an array from its start to its end, whatever its strides.
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with replacing(path) as temporary:
        # Not with save_file, which makes files private and replaces devices such as /dev/stdout.
        temporary.write_bytes(to_safetensors(arrays, metadata))


def load_function(path: str | os.PathLike[str]) -> FunctionalImage:
    """Read a functional image.

    Raises:
        UserError: there is no such file, or it is damaged, or of another kind or version.
    """
    with open_checked(path) as file:
        header = _read_metadata(file.metadata() or {})
        return _assemble(header, ArrayReader(file))


def load_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the header of a file, without its arrays.

    Returns:
        "version", "writer", "target" (with its "type"), "windows", "size" (height, width), "base"
        ("none" or "bicubic"), "quantization", "about" (the notes it was saved with), "tensors"
        ({name: {"dtype", "shape"}}) and "bytes" (size of the file).

    Raises:
        UserError: as for `load_function`.
    """
    with open_checked(path) as file:
        header = _read_metadata(file.metadata() or {})
        slices = {name: file.get_slice(name) for name in file.keys()}
        tensors = {
            name: {"dtype": array.get_dtype(), "shape": list(array.get_shape())}
            for name, array in slices.items()
        }
        return {
            **header,
            "target": to_plain(header["target"], Target),
            "windows": to_plain(header["windows"], WindowLayout),
            "tensors": tensors,
            "bytes": as_path(path).stat().st_size,
        }


def _add_array(
    arrays: dict[str, np.ndarray], name: str, values: np.ndarray, quantize: Quantization | None
) -> None:
    """Add an array, and with "int8" its scales."""
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds values that are not finite: the model is damaged")
    # Without a second axis of parameters, few windows would need a scale for each number.
    has_many = math.prod(values.shape[:3]) >= MIN_WINDOWS_PER_SCALE
    if quantize == "int8" and (has_many or values.ndim > 4):
        arrays[name], arrays[f"scales.{name}"] = quantize_int8(values)
    elif quantize is not None:
        with np.errstate(over="ignore"):
            arrays[name] = values.astype(np.float16)
        if not np.isfinite(arrays[name]).all():
            raise UserError(f'{name} does not fit float16: save it with quantize "int8" or None')
    else:
        arrays[name] = values.astype(np.float32)


def _name(path: Any) -> str:
    """Name an array by its place in a nested dict: the keys, with dots between them."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _read_metadata(metadata: dict[str, str]) -> dict[str, Any]:
    """Check and parse the metadata, up to the target network and the window layout."""
    if metadata.get("format") != FORMAT:
        raise InvalidFile(f"not a function file: its format is {show(metadata.get('format'))}")
    if metadata.get("version") != str(VERSION):
        raise InvalidFile(
            f"its version is {show(metadata.get('version'))}, but this version of hyperfunc reads "
            f"version {VERSION}: use the version that wrote it ({show(metadata.get('writer'))})"
        )
    size = _parse_json(metadata, "size")
    if not isinstance(size, list) or len(size) != 2:
        raise InvalidFile(f"size: {show(size)} is not [height, width]")
    for side in size:
        if type(side) is not int or not 1 <= side <= MAX_SIDE:
            raise InvalidFile(f"size: {show(side)} is not an integer from 1 to {MAX_SIDE}")
    for key, choices in {
        "base": ("none", "bicubic"),
        "quantization": ("none", *typing.get_args(Quantization)),
    }.items():
        if metadata.get(key) not in choices:
            raise InvalidFile(f"{key}: {show(metadata.get(key))} is none of {', '.join(choices)}")
    about = _parse_json(metadata, "about") if "about" in metadata else {}
    if not isinstance(about, dict) or not all(isinstance(note, str) for note in about.values()):
        raise InvalidFile("about: the notes must be a JSON object of texts")
    writer = metadata.get("writer", "")
    return {
        "version": VERSION,
        "writer": writer if writer.isprintable() else "",
        "target": _build(metadata, "target", Target),
        "windows": _build(metadata, "windows", WindowLayout),
        "size": tuple(size),
        "base": metadata["base"],
        "quantization": metadata["quantization"],
        "about": about,
    }


def _parse_json(metadata: dict[str, str], key: str) -> Any:
    if key not in metadata:
        raise InvalidFile(f"{key} is missing")
    try:
        return json.loads(metadata[key])
    except ValueError as error:
        raise InvalidFile(f"{key} is not JSON ({shorten(str(error))})") from None


def _build(metadata: dict[str, str], key: str, kind: Any) -> Any:
    """Build a target network or a window layout."""
    try:
        return from_plain(_parse_json(metadata, key), kind, name=key)
    except ValueError as error:
        raise InvalidFile(shorten(str(error))) from None


def _assemble(header: dict[str, Any], arrays: ArrayReader) -> FunctionalImage:
    """Build the functional image; the header determines the types and shapes of the arrays."""
    target: Target = header["target"]
    layout: WindowLayout = header["windows"]
    size: tuple[int, int] = header["size"]
    grid = layout.grid(size)
    theta_like, shared_like = _shapes(target)
    batch: int | None = None

    def read_theta(path: Any, like: Any) -> jax.Array:
        nonlocal batch
        leaf = arrays.read_theta(f"theta.{_name(path)}", (batch, *grid, *like.shape))
        batch = leaf.shape[0]
        return jnp.asarray(leaf)

    def read_shared(path: Any, like: Any) -> jax.Array:
        return jnp.asarray(arrays.read(f"shared.{_name(path)}", like.shape, "F32"))

    if target.is_linear and "theta.features" in arrays.unread:
        features = arrays.read_theta("theta.features", (None, *grid, None))
        kernel_shape = (features.shape[-1], *theta_like["coefficients"].shape)
        kernel = arrays.read("theta.kernel", kernel_shape, "F32")
        theta = FactoredTheta(jnp.asarray(features), jnp.asarray(kernel))
        batch = features.shape[0]
    else:
        theta = PlainTheta(jax.tree.map_with_path(read_theta, theta_like))
    shared = jax.tree.map_with_path(read_shared, shared_like)
    base = None
    if header["base"] == "bicubic":
        base = arrays.read("base", (batch, *size, target.channels), "U8", "U16", "F32")
        base = jnp.asarray(to_unit_range(base))
    if arrays.unread:
        raise InvalidFile(f"the array {show(min(arrays.unread))} is not expected")
    return FunctionalImage(
        theta=theta,
        shared=shared,
        base=base,
        exists=(jnp.ones(grid[0]), jnp.ones(grid[1])),
        target=target,
        layout=layout,
        size=size,
    )


@functools.lru_cache(maxsize=64)
def _shapes(target: Target) -> tuple[Any, Any]:
    """Return the shapes of (theta, shared) of one target network."""
    return jax.eval_shape(target.init, jax.random.key(0))
