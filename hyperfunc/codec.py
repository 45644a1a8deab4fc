"""The function as a file: a functional image in a safe, documented, versioned format (``.hfn``).

The layout is safetensors' (a length, a JSON header, raw arrays: nothing that runs), so that any
safetensors reader opens it; ``docs/format.md`` says what the arrays mean, and
`hyperfunc.numpy_decoder` renders a file without JAX. Reading trusts nothing: whatever the bytes,
a file is either understood whole or refused with a `UserError` that names what is wrong, and no
more is allocated than a small multiple of its size.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import re
import stat
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import hyperfunc
from hyperfunc.atomic import replacing
from hyperfunc.errors import UserError
from hyperfunc.functional_image import FunctionalImage
from hyperfunc.hypernetwork import FactoredTheta
from hyperfunc.targets import FourierField, Target
from hyperfunc.windows import WindowLayout

FORMAT = "hyperfunc"
VERSION = 1
"""Of the format; raised when an older reader would misunderstand a file."""

SUFFIX = ".hfn"

Quantization = Literal["int8", "float16"]

MAX_HEADER = 1 << 20
"""Bytes. Ours are about 2 KB."""

_MAX_WIDTH = 1 << 16
"""The largest number that the description of a target network may hold."""

_MAX_SIDE = 1 << 24
"""Pixels."""

_MAX_DEPTH = 16
"""Of JSON."""

_DTYPES = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "U16": np.dtype("<u2"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

_MANY = 32
"""So many windows are worth a scale of their own (4 bytes) for each parameter."""

Tensors = dict[str, np.ndarray]


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
        "target": json.dumps(_describe(function.target)),
        "windows": json.dumps(dataclasses.asdict(function.layout)),
        "size": json.dumps(list(function.size)),
        "base": "none" if function.base is None else "bicubic",
        "quantization": quantize or "none",
        "about": json.dumps(dict(about or {})),
    }
    with replacing(path) as beside, beside.open("wb") as file:
        _write(file, tensors, metadata)


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


def _describe(value: Target) -> dict[str, Any]:
    return {"type": type(value).__name__, **dataclasses.asdict(value)}


def _write(file: typing.BinaryIO, tensors: Tensors, metadata: dict[str, str]) -> None:
    # The widest types first, so that every array is aligned.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for _, array in ordered:
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)


# Reading -----------------------------------------------------------------------------------------


def load_function(path: str | os.PathLike[str]) -> FunctionalImage:
    """Read a functional image.

    Raises:
        UserError: there is no such file, or it is damaged, or of another kind or version.
    """
    with _naming(path):
        header, tensors = _read(Path(path))
        return _assemble(header, tensors)


def load_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what a file says of itself, without its arrays.

    Returns:
        "version", "writer", "target" (with its "type"), "windows", "size" (height, width), "base"
        ("none" or "bicubic"), "quantization", "about" (the notes it was saved with), "tensors"
        ({name: {"dtype", "shape"}}) and "bytes" (of the file).

    Raises:
        UserError: as `load_function`.
    """
    with _naming(path), _open(Path(path)) as (file, length):
        header, entries, _ = _read_header(file, length)
    tensors = {name: {"dtype": e.dtype, "shape": list(e.shape)} for name, e in entries.items()}
    return {**header, "tensors": tensors, "bytes": length}


class _Invalid(Exception):
    """What is wrong with a file, without its name."""


@dataclasses.dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@contextlib.contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except _Invalid as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[typing.BinaryIO, int]]:
    # Looked at before it is opened: opening a pipe would wait for its writer.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _Invalid("not a file")
    with open(path, "rb") as file:
        yield file, os.fstat(file.fileno()).st_size


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    with _open(path) as (file, length):
        header, entries, buffer_length = _read_header(file, length)
        buffer = file.read(buffer_length)
    if len(buffer) != buffer_length:
        raise _Invalid("the file became shorter while it was read")
    tensors = {}
    for name, entry in entries.items():
        dtype = _DTYPES[entry.dtype]
        count = (entry.end - entry.start) // dtype.itemsize
        array = np.frombuffer(buffer, dtype, count, entry.start).reshape(entry.shape)
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise _Invalid(f"the array {name!r} holds values that are not finite")
        tensors[name] = array
    return header, tensors


def _read_header(
    file: typing.BinaryIO, length: int
) -> tuple[dict[str, Any], dict[str, _Entry], int]:
    """Read and check the header: (what it says, its arrays, bytes of the arrays)."""
    prefix = file.read(8)
    if len(prefix) < 8:
        raise _Invalid(f"no {SUFFIX} file: {length} bytes are too few")
    header_length = int.from_bytes(prefix, "little")
    if header_length > MAX_HEADER:
        raise _Invalid(
            f"no {SUFFIX} file: its header would have {header_length} bytes, {MAX_HEADER} are the "
            "most"
        )
    text = file.read(header_length)
    if len(text) < header_length:
        raise _Invalid(f"truncated: {length} bytes do not hold the header of {header_length}")
    header = _mapping(_parse(text, "the header"), "the header")
    metadata = _mapping(header.pop("__metadata__", None), "__metadata__")
    if metadata.get("format") != FORMAT:
        raise _Invalid(f"no functional image: its format is {_show(metadata.get('format'))}")
    if metadata.get("version") != str(VERSION):
        raise _Invalid(
            f"its version is {_show(metadata.get('version'))} and this version of hyperfunc reads "
            f"{VERSION}: use the version that wrote it ({_show(metadata.get('writer'))})"
        )
    entries = {name: _entry(name, entry) for name, entry in header.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != end:
            what = "overlaps the one before" if entry.start < end else "leaves a gap before it"
            raise _Invalid(f"the array {_show(name)} {what}: it starts at byte {entry.start}")
        end = entry.end
    present = length - 8 - header_length
    if present != end:
        what = "truncated" if present < end else "too long"
        raise _Invalid(f"{what}: its arrays have {present} bytes, its header says {end}")
    return _read_metadata(metadata), entries, end


def _read_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    about = _mapping(_parse(metadata.get("about", "{}"), "about"), "about")
    if not all(isinstance(value, str) for value in about.values()):
        raise _Invalid("about: its values must be text")
    target = _mapping(_parse(metadata.get("target"), "target"), "target")
    windows = _mapping(_parse(metadata.get("windows"), "windows"), "windows")
    size = _parse(metadata.get("size"), "size")
    if not isinstance(size, list) or len(size) != 2:
        raise _Invalid(f"size: {_show(size)} is not [height, width]")
    for side in size:
        _integer(side, "size", 1, _MAX_SIDE)
    if metadata.get("base") not in ("none", "bicubic"):
        raise _Invalid(f'base: {_show(metadata.get("base"))} is neither "none" nor "bicubic"')
    quantization = metadata.get("quantization")
    if quantization not in ("none", *typing.get_args(Quantization)):
        raise _Invalid(f"quantization: {_show(quantization)} is not known")
    writer = metadata.get("writer", "")
    return {
        "version": VERSION,
        "writer": writer if isinstance(writer, str) else "",
        "target": target,
        "windows": windows,
        "size": tuple(size),
        "base": metadata["base"],
        "quantization": quantization,
        "about": about,
    }


def _entry(name: str, value: Any) -> _Entry:
    what = f"the array {_show(name)}"
    entry = _mapping(value, what)
    if set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _Invalid(f"{what} must have dtype, shape and data_offsets, it has {_show(entry)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise _Invalid(f"{what} is of dtype {_show(dtype)}: it must be one of {', '.join(_DTYPES)}")
    if not isinstance(shape, list) or len(shape) > 8:
        raise _Invalid(f"{what} has the shape {_show(shape)}")
    for side in shape:
        _integer(side, f"{what}: its shape", 1, 2**40)
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise _Invalid(f"{what} has the data_offsets {_show(offsets)}")
    start, end = (_integer(offset, f"{what}: its offsets", 0, 2**60) for offset in offsets)
    needed = math.prod(shape) * _DTYPES[dtype].itemsize
    if end - start != needed:
        raise _Invalid(f"{what}: {dtype} {shape} needs {needed} bytes, it has {end - start}")
    return _Entry(dtype, tuple(shape), start, end)


def _assemble(header: dict[str, Any], tensors: Tensors) -> FunctionalImage:
    """Build the functional image, each array checked against what the header says."""
    target = _build_target(header["target"])
    layout = _build(WindowLayout, header["windows"], "windows")
    size: tuple[int, int] = header["size"]
    grid = layout.grid(size)
    theta_like, shared_like = _shapes(target)
    tensors = dict(tensors)

    def take(name: str, shape: tuple[int | None, ...], dtypes: tuple[str, ...]) -> np.ndarray:
        if name not in tensors:
            raise _Invalid(f"the array {name!r} is missing")
        array = tensors.pop(name)
        fits = len(array.shape) == len(shape) and all(
            wanted in (None, side) for side, wanted in zip(array.shape, shape, strict=True)
        )
        if not fits or _NAMES[array.dtype] not in dtypes:
            wanted = ", ".join("any" if side is None else str(side) for side in shape)
            raise _Invalid(
                f"the array {name!r} is {_NAMES[array.dtype]} {list(array.shape)}: it must be "
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
            raise _Invalid(f"the array 'scales.{name}' does not fit {name!r}")
        with np.errstate(over="ignore"):
            values *= scale
        if not np.isfinite(values).all():
            raise _Invalid(f"the array {name!r} overflows with its scales")
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
        raise _Invalid(f"the array {_show(min(tensors))} is not expected")
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


def _build_target(description: dict[str, Any]) -> Target:
    kinds = {kind.__name__: kind for kind in typing.get_args(Target)}
    kind = description.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        raise _Invalid(f"target: {_show(kind)} is none of {', '.join(kinds)}")
    fields = {name: value for name, value in description.items() if name != "type"}
    return _build(kinds[kind], fields, "target")


def _build(kind: type, values: dict[str, Any], what: str) -> Any:
    """Make a frozen dataclass of plain fields, each checked against its annotation."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    if set(values) != set(names):
        raise _Invalid(f"{what}: it must have the fields {', '.join(names)}; got {_show(values)}")
    try:
        return kind(**{name: _field(values[name], hints[name], what) for name in names})
    except ValueError as error:
        raise _Invalid(f"{what}: {error}") from None


def _field(value: Any, hint: Any, what: str) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int:
        return _integer(value, what, 0, _MAX_WIDTH)
    if hint is float and type(value) in (int, float) and abs(value) <= _MAX_WIDTH:
        return float(value)
    if typing.get_origin(hint) is Literal and isinstance(value, str):
        if value in typing.get_args(hint):
            return value
    if isinstance(hint, types.GenericAlias) and isinstance(value, list) and len(value) <= 64:
        return tuple(_integer(item, what, 0, _MAX_WIDTH) for item in value)
    raise _Invalid(f"{what}: {_show(value)} is no value that it can have")


def _parse(text: Any, what: str) -> Any:
    """Parse JSON strictly: no NaN, no repeated keys, nothing deep."""
    if not isinstance(text, str | bytes):
        raise _Invalid(f"{what} is missing, or not text")

    def refuse(constant: str) -> None:
        raise _Invalid(f"{what} holds {constant}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise _Invalid(f"{what} names something twice")
        return result

    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        depth = 0
        for bracket in re.findall(r"[][{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.S)):
            depth += 1 if bracket in "[{" else -1
            if depth > _MAX_DEPTH:
                raise _Invalid(f"{what} is nested more than {_MAX_DEPTH} deep")
        return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except ValueError as error:
        raise _Invalid(f"{what} is no JSON ({_show(str(error))})") from None


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Invalid(f"{what} is missing, or no JSON object")
    return value


def _integer(value: Any, what: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise _Invalid(f"{what}: {_show(value)} is no whole number from {low} to {high}")
    return value


def _show(value: Any) -> str:
    """A value for a message, short and without control characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
