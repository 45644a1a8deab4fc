"""Named arrays and notes in a file: a strict reader and writer of the safetensors layout.

A length, a JSON header, raw arrays. Reading trusts nothing: whatever the bytes, a file is either
understood whole or refused with `Invalid`, which says what is wrong, and no more is allocated than
a small multiple of its size. `hyperfunc.export.hfn` gives the arrays their meaning.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
import stat
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MAX_HEADER = 1 << 20
"""Bytes. Ours are about 2 KB."""

MAX_DEPTH = 16
"""Of JSON."""

DTYPES = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "U16": np.dtype("<u2"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

Tensors = dict[str, np.ndarray]


class Invalid(Exception):
    """What is wrong with a file, without its name."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where an array lies, in bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Header:
    """The header of a file, of which only the form has been checked."""

    metadata: dict[str, Any]
    arrays: dict[str, Any]
    """As they are written: `check_arrays` checks them."""
    arrays_length: int
    """Bytes after the header."""


def write_arrays(file: typing.BinaryIO, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write arrays of the types in `DTYPES`, and notes."""
    # The widest types first, so that every array is aligned.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for _, array in ordered:
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[tuple[typing.BinaryIO, int]]:
    """Open a file that is one; yields it and its length."""
    # Looked at before it is opened: opening a pipe would wait for its writer.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Invalid("not a file")
    with open(path, "rb") as file:
        yield file, os.fstat(file.fileno()).st_size


def read_header(file: typing.BinaryIO, length: int) -> Header:
    """Read the header of an open file of ``length`` bytes."""
    prefix = file.read(8)
    if len(prefix) < 8:
        raise Invalid(f"no file of named arrays: {length} bytes are too few")
    header_length = int.from_bytes(prefix, "little")
    if header_length > MAX_HEADER:
        raise Invalid(
            f"no file of named arrays: its header would have {header_length} bytes, {MAX_HEADER} "
            "are the most"
        )
    text = file.read(header_length)
    if len(text) < header_length:
        raise Invalid(f"truncated: {length} bytes do not hold the header of {header_length}")
    arrays = check_mapping(parse_json(text, "the header"), "the header")
    metadata = check_mapping(arrays.pop("__metadata__", None), "__metadata__")
    return Header(metadata, arrays, length - 8 - header_length)


def check_arrays(header: Header) -> dict[str, Entry]:
    """Check that the arrays fill the file, each byte belonging to one of them."""
    entries = {name: _entry(name, entry) for name, entry in header.arrays.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != end:
            what = "overlaps the one before" if entry.start < end else "leaves a gap before it"
            raise Invalid(f"the array {show(name)} {what}: it starts at byte {entry.start}")
        end = entry.end
    if header.arrays_length != end:
        what = "truncated" if header.arrays_length < end else "too long"
        raise Invalid(
            f"{what}: its arrays have {header.arrays_length} bytes, its header says {end}"
        )
    return entries


def read_arrays(file: typing.BinaryIO, header: Header) -> Tensors:
    """Read all arrays of a file whose header has been read; the floats among them are finite."""
    entries = check_arrays(header)
    buffer = file.read(header.arrays_length)
    if len(buffer) != header.arrays_length:
        raise Invalid("the file became shorter while it was read")
    tensors = {}
    for name, entry in entries.items():
        dtype = DTYPES[entry.dtype]
        count = (entry.end - entry.start) // dtype.itemsize
        array = np.frombuffer(buffer, dtype, count, entry.start).reshape(entry.shape)
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise Invalid(f"the array {show(name)} holds values that are not finite")
        tensors[name] = array
    return tensors


def _entry(name: str, value: Any) -> Entry:
    what = f"the array {show(name)}"
    entry = check_mapping(value, what)
    if set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Invalid(f"{what} must have dtype, shape and data_offsets, it has {show(entry)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise Invalid(f"{what} is of dtype {show(dtype)}: it must be one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or len(shape) > 8:
        raise Invalid(f"{what} has the shape {show(shape)}")
    for side in shape:
        check_integer(side, f"{what}: its shape", 1, 2**40)
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise Invalid(f"{what} has the data_offsets {show(offsets)}")
    start, end = (check_integer(offset, f"{what}: its offsets", 0, 2**60) for offset in offsets)
    needed = math.prod(shape) * DTYPES[dtype].itemsize
    if end - start != needed:
        raise Invalid(f"{what}: {dtype} {shape} needs {needed} bytes, it has {end - start}")
    return Entry(dtype, tuple(shape), start, end)


def parse_json(text: Any, what: str) -> Any:
    """Parse JSON strictly: no NaN, no repeated keys, nothing deep."""
    if not isinstance(text, str | bytes):
        raise Invalid(f"{what} is missing, or not text")

    def refuse(constant: str) -> None:
        raise Invalid(f"{what} holds {constant}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise Invalid(f"{what} names something twice")
        return result

    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        depth = 0
        # A string that is never closed goes on to the end: else each of its quotes would be tried.
        strings = r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)'
        for bracket in re.findall(r"[][{}]", re.sub(strings, "", text, flags=re.S)):
            depth += 1 if bracket in "[{" else -1
            if depth > MAX_DEPTH:
                raise Invalid(f"{what} is nested more than {MAX_DEPTH} deep")
        return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except ValueError as error:
        raise Invalid(f"{what} is no JSON ({show(str(error))})") from None


def check_mapping(value: Any, what: str) -> dict[str, Any]:
    """Check that a value is a JSON object; ``what`` names it in the message."""
    if not isinstance(value, dict):
        raise Invalid(f"{what} is missing, or no JSON object")
    return value


def check_integer(value: Any, what: str, low: int, high: int) -> int:
    """Check that a value is a whole number from ``low`` to ``high``."""
    if type(value) is not int or not low <= value <= high:
        raise Invalid(f"{what}: {show(value)} is no whole number from {low} to {high}")
    return value


def show(value: Any) -> str:
    """A value for a message, short and without control characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
