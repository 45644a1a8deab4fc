"""The function as a file: a functional image in a safe, documented, versioned format (``.hfn``).

The layout is safetensors' (a length, a JSON header, raw arrays: nothing that runs), so that any
safetensors reader opens it; ``docs/format.md`` says what the arrays mean, and
`hyperfunc.export.numpy_decoder` renders a file without JAX. Here is that meaning;
`hyperfunc.export.container` reads and writes the bytes. A file is either understood whole or
refused with a `UserError` that names what is wrong.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import hyperfunc
from hyperfunc.errors import UserError
from hyperfunc.export.container import (
    NAMES,
    Invalid,
    Tensors,
    check_arrays,
    check_integer,
    check_mapping,
    open_file,
    parse_json,
    read_arrays,
    read_header,
    show,
    write_arrays,
)
from hyperfunc.export.description import build, build_target, describe_target
from hyperfunc.files import replacing
from hyperfunc.function import FunctionalImage
from hyperfunc.networks import FactoredTheta, FourierField, Target
from hyperfunc.pixels import WindowLayout

FORMAT = "hyperfunc"
VERSION = 1
"""Of the format; raised when an older reader would misunderstand a file."""

Quantization = Literal["int8", "float16"]

_MAX_SIDE = 1 << 24
"""Pixels."""

_MANY = 32
"""So many windows are worth a scale of their own (4 bytes) for each parameter."""

# Writing -----------------------------------------------------------------------------------------


def save_function(
    path: str | os.PathLike[str],
    function: FunctionalImage,
    *,
    quantize: Quantization | None = "int8",
    about: Mapping[str, str] | None = None,
) -> None:
    """Write a functional image to a file; beside its place first, then renamed.

    What all windows share stays in float32. The base image is stored in 8 or 16 bits where it was
    made of such, so that it comes back exactly, and in float32 otherwise. Windows that only pad a
    tile are left out, with the pixels under them.

    Args:
        path: by convention with the suffix ``.hfn``.
        function: of one image or more.
        quantize: how theta is stored: "int8", with a scale for each feature or parameter of each
            row of windows (the default: it loses less than rounding an image to 8 bits does, see
            ``docs/format.md``), "float16", or None for float32.
        about: notes to keep in the header, such as the model's name and step.

    Raises:
        ValueError: ``quantize`` is none of these.
        UserError: theta is not finite or does not fit float16, or the file cannot be written.
    """
    if quantize not in (None, *typing.get_args(Quantization)):
        raise ValueError(f'quantize {quantize!r}: give "int8", "float16" or None')
    function = without_padding(function)
    tensors: Tensors = {}
    for name, leaf in _flatten(_theta_leaves(function), "theta"):
        is_emitted = name != "theta.kernel"
        _add_quantized(tensors, name, np.asarray(leaf), quantize if is_emitted else None)
    for name, leaf in _flatten(function.shared, "shared"):
        _add_quantized(tensors, name, np.asarray(leaf), None)
    if function.base is not None:
        tensors["base"] = integer_base(np.asarray(function.base))
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "writer": f"hyperfunc {hyperfunc.__version__}",
        "target": json.dumps(describe_target(function.target)),
        "windows": json.dumps(dataclasses.asdict(function.layout)),
        "size": json.dumps(list(function.size)),
        "base": "none" if function.base is None else "bicubic",
        "quantization": quantize or "none",
        "about": json.dumps(dict(about or {})),
    }
    with replacing(path) as beside, beside.open("wb") as file:
        write_arrays(file, tensors, metadata)


def without_padding(function: FunctionalImage) -> FunctionalImage:
    """Leave out windows that only pad a tile, and the pixels under them."""
    spans = []
    for exists in function.exists:
        (present,) = np.nonzero(np.asarray(exists))
        if len(present) == 0 or len(present) != present[-1] - present[0] + 1:
            raise ValueError("the windows that exist must be a block, with at least one window")
        spans.append(slice(int(present[0]), int(present[-1]) + 1))
    if all(span == slice(0, len(e)) for span, e in zip(spans, function.exists, strict=True)):
        return function
    if not function.layout.is_per_pixel:
        raise ValueError("only a functional image with a window per pixel may have padding")
    rows, cols = spans
    theta = function.theta
    if isinstance(theta, FactoredTheta):
        theta = theta.replace(features=theta.features[:, rows, cols])  # pyright: ignore[reportAttributeAccessIssue]
    else:
        theta = jax.tree.map(lambda leaf: leaf[:, rows, cols], theta)
    size = (rows.stop - rows.start, cols.stop - cols.start)
    return function.replace(  # pyright: ignore[reportAttributeAccessIssue]
        theta=theta,
        base=None if function.base is None else function.base[:, rows, cols],
        exists=(jnp.ones(size[0]), jnp.ones(size[1])),
        size=size,
    )


def quantize_int8(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round to -127 ... 127 times a scale (float32) that broadcasts against the values.

    Args:
        values: [b, window rows, window columns, ...]. Each parameter has its own scale for each
            row of windows, so that a highlight coarsens its own row only; where a row is short, for
            all windows; where there are few at all, each column of the parameter's last axis.
    """
    if values.shape[2] >= _MANY:
        axes = (2,)
    elif math.prod(values.shape[:3]) >= _MANY:
        axes = (0, 1, 2)
    else:
        axes = tuple(range(values.ndim - 1))
    scale = np.abs(values).max(axis=axes, keepdims=True).astype(np.float32) / np.float32(127)
    scale = np.where(scale > 0, scale, np.float32(1))
    return np.clip(np.round(values / scale), -127, 127).astype(np.int8), scale


def integer_base(base: np.ndarray) -> np.ndarray:
    """A base image as the 8- or 16-bit image that it was made of; as it is if it was of none."""
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535)):
        levels = np.round(np.clip(base, 0, 1) * np.float32(top))
        # An encoder may have divided or multiplied by the reciprocal: half a unit of 2^-23 apart.
        if np.abs(levels / np.float32(top) - base).max() <= 2.0**-23:
            return levels.astype(dtype)
    return base.astype(np.float32)


def _theta_leaves(function: FunctionalImage) -> dict[str, Any]:
    theta = function.theta
    if isinstance(theta, FactoredTheta):
        return {"features": theta.features, "kernel": theta.kernel}
    return theta


def _add_quantized(
    tensors: Tensors, name: str, values: np.ndarray, quantize: Quantization | None
) -> None:
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds values that are not finite: the model is damaged")
    has_many = math.prod(values.shape[:3]) >= _MANY
    if quantize == "int8" and (has_many or values.ndim > 4):  # Else a scale for each number.
        tensors[name], tensors[f"scales.{name}"] = quantize_int8(values)
    elif quantize is not None:
        with np.errstate(over="ignore"):
            tensors[name] = values.astype(np.float16)
        if not np.isfinite(tensors[name]).all():
            raise UserError(f'{name} does not fit float16: save it with quantize "int8" or None')
    else:
        tensors[name] = values.astype(np.float32)


def _flatten(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


# Reading -----------------------------------------------------------------------------------------


def load_function(path: str | os.PathLike[str]) -> FunctionalImage:
    """Read a functional image.

    Raises:
        UserError: there is no such file, or it is damaged, or of another kind or version.
    """
    with _naming(path), open_file(Path(path)) as (file, length):
        header = read_header(file, length)
        metadata = _read_metadata(header.metadata)
        return _assemble(metadata, read_arrays(file, header))


def load_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what a file says of itself, without its arrays.

    Returns:
        "version", "writer", "target" (with its "type"), "windows", "size" (height, width), "base"
        ("none" or "bicubic"), "quantization", "about" (the notes it was saved with), "tensors"
        ({name: {"dtype", "shape"}}) and "bytes" (of the file).

    Raises:
        UserError: as `load_function`.
    """
    with _naming(path), open_file(Path(path)) as (file, length):
        header = read_header(file, length)
        metadata, entries = _read_metadata(header.metadata), check_arrays(header)
    tensors = {name: {"dtype": e.dtype, "shape": list(e.shape)} for name, e in entries.items()}
    return {**metadata, "tensors": tensors, "bytes": length}


@contextlib.contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except Invalid as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    if metadata.get("format") != FORMAT:
        raise Invalid(f"no functional image: its format is {show(metadata.get('format'))}")
    if metadata.get("version") != str(VERSION):
        raise Invalid(
            f"its version is {show(metadata.get('version'))} and this version of hyperfunc reads "
            f"{VERSION}: use the version that wrote it ({show(metadata.get('writer'))})"
        )
    about = check_mapping(parse_json(metadata.get("about", "{}"), "about"), "about")
    if not all(isinstance(value, str) for value in about.values()):
        raise Invalid("about: its values must be text")
    target = check_mapping(parse_json(metadata.get("target"), "target"), "target")
    windows = check_mapping(parse_json(metadata.get("windows"), "windows"), "windows")
    size = parse_json(metadata.get("size"), "size")
    if not isinstance(size, list) or len(size) != 2:
        raise Invalid(f"size: {show(size)} is not [height, width]")
    for side in size:
        check_integer(side, "size", 1, _MAX_SIDE)
    if metadata.get("base") not in ("none", "bicubic"):
        raise Invalid(f'base: {show(metadata.get("base"))} is neither "none" nor "bicubic"')
    quantization = metadata.get("quantization")
    if quantization not in ("none", *typing.get_args(Quantization)):
        raise Invalid(f"quantization: {show(quantization)} is not known")
    writer = metadata.get("writer", "")
    return {
        "version": VERSION,
        "writer": writer if isinstance(writer, str) and writer.isprintable() else "",
        "target": target,
        "windows": windows,
        "size": tuple(size),
        "base": metadata["base"],
        "quantization": quantization,
        "about": about,
    }


def _assemble(header: dict[str, Any], tensors: Tensors) -> FunctionalImage:
    """Build the functional image, each array checked against what the header says."""
    target = build_target(header["target"])
    layout = build(WindowLayout, header["windows"], "windows")
    size: tuple[int, int] = header["size"]
    grid = layout.grid(size)
    theta_like, shared_like = _shapes(target)
    tensors = dict(tensors)

    def take(name: str, shape: tuple[int | None, ...], dtypes: tuple[str, ...]) -> np.ndarray:
        if name not in tensors:
            raise Invalid(f"the array {name!r} is missing")
        array = tensors.pop(name)
        fits = len(array.shape) == len(shape) and all(
            wanted in (None, side) for side, wanted in zip(array.shape, shape, strict=True)
        )
        if not fits or NAMES[array.dtype] not in dtypes:
            wanted = ", ".join("any" if side is None else str(side) for side in shape)
            raise Invalid(
                f"the array {name!r} is {NAMES[array.dtype]} {list(array.shape)}: it must be "
                f"{' or '.join(dtypes)} [{wanted}]"
            )
        return array

    def take_emitted(name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        array = take(name, shape, ("F32", "F16", "I8"))
        values = array.astype(np.float32)
        if array.dtype != np.int8:
            return values
        scale = take(f"scales.{name}", (None,) * array.ndim, ("F32",))
        pairs = zip(scale.shape, array.shape, strict=True)
        if any(side not in (1, whole) for side, whole in pairs):
            raise Invalid(f"the array 'scales.{name}' does not fit {name!r}")
        with np.errstate(over="ignore"):
            values *= scale
        if not np.isfinite(values).all():
            raise Invalid(f"the array {name!r} overflows with its scales")
        return values

    if isinstance(target, FourierField) and "theta.features" in tensors:
        features = take_emitted("theta.features", (None, *grid, None))
        kernel_shape = (features.shape[-1], target.basis_size, target.channels)
        kernel = take("theta.kernel", kernel_shape, ("F32",))
        theta = FactoredTheta(jnp.asarray(features), jnp.asarray(kernel))
        batch = features.shape[0]
    else:
        batch, theta = None, {}
        for name, like in _flatten(theta_like, "theta"):
            leaf = take_emitted(name, (batch, *grid, *like.shape))
            batch = leaf.shape[0]
            _insert(theta, name, leaf)
    shared: dict[str, Any] = {}
    for name, like in _flatten(shared_like, "shared"):
        _insert(shared, name, take(name, like.shape, ("F32",)))
    base = None
    if header["base"] == "bicubic":
        base = take("base", (batch, *size, target.channels), ("U8", "U16", "F32"))
        if base.dtype.kind == "u":
            base = base.astype(np.float32) / np.float32(np.iinfo(base.dtype).max)
        base = jnp.asarray(base)
    if tensors:
        raise Invalid(f"the array {show(min(tensors))} is not expected")
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
    """Shapes of (theta, shared) of one target network."""
    return jax.eval_shape(target.init, jax.random.key(0))


def _insert(tree: dict[str, Any], name: str, leaf: np.ndarray) -> None:
    *path, last = name.split(".")[1:]
    for key in path:
        tree = tree.setdefault(key, {})
    tree[last] = jnp.asarray(leaf)
