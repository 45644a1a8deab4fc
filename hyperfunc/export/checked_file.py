"""Open a safetensors file from a stranger, check it, and read it array by array.

When the file is opened, `safetensors` checks its header against its size, before it allocates
memory for arrays. This module adds the checks of types, shapes and values, and turns all errors
into a `UserError` of one line.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from hyperfunc.errors import UserError
from hyperfunc.files import as_path, fetching

MAX_HEADER_BYTES = 1 << 20
"""The header of a functional image has about 2 KB."""


class InvalidFile(Exception):
    """A file is not what it should be. `open_checked` adds its name to the message."""


@contextlib.contextmanager
def open_checked(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a file, and report what is wrong with it, also while it is read, as a `UserError`."""
    path = as_path(path)
    try:
        # Checked before opening: opening a pipe waits for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidFile("not a file")
        with fetching(path) as copy:
            with copy.open("rb") as start:
                header_bytes = int.from_bytes(start.read(8), "little")
            if header_bytes > MAX_HEADER_BYTES:
                raise InvalidFile(
                    f"not a function file: its header would take {header_bytes} bytes, more than "
                    f"the limit of {MAX_HEADER_BYTES}"
                )
            # Not memory-mapped: reading a mapped file that becomes shorter ends the process.
            with safe_open(copy, framework="numpy", backend="pread") as file:
                yield file
    except SafetensorError as error:
        raise UserError(
            f"{path}: not a function file, or damaged or truncated ({shorten(str(error))}): copy "
            "or export it again"
        ) from error
    except InvalidFile as error:
        raise UserError(f"{path}: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: not a function file: its header is nested too deeply") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


class ArrayReader:
    """The arrays of a file; each is read once, after its type and shape have been checked."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.unread = set(file.keys())

    def read(self, name: str, shape: tuple[int | None, ...], *dtypes: str) -> np.ndarray:
        """Read an array of finite values that must have one of these types of safetensors.

        It must have this shape, in which None stands for any positive length of an axis.
        """
        if name not in self.unread:
            raise InvalidFile(f"the array {name!r} is missing")
        self.unread.remove(name)
        array = self._file.get_slice(name)
        actual, dtype = array.get_shape(), array.get_dtype()
        fits = len(actual) == len(shape) and all(
            side == wanted or (wanted is None and side >= 1)
            for side, wanted in zip(actual, shape, strict=True)
        )
        if not fits or dtype not in dtypes:
            wanted = ", ".join("any" if side is None else str(side) for side in shape)
            raise InvalidFile(
                f"the array {name!r} is {dtype} {show(list(actual))}: it must be "
                f"{' or '.join(dtypes)} [{wanted}]"
            )
        values = self._file.get_tensor(name)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InvalidFile(f"the array {name!r} holds values that are not finite")
        return values

    def read_theta(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Read an array of theta as float32; integers are multiplied by their scales."""
        levels = self.read(name, shape, "F32", "F16", "I8")
        values = levels.astype(np.float32)
        if levels.dtype != np.int8:
            return values
        scale = self.read(f"scales.{name}", (None,) * levels.ndim, "F32")
        pairs = zip(scale.shape, levels.shape, strict=True)
        if any(side not in (1, whole) for side, whole in pairs):
            raise InvalidFile(f"the array 'scales.{name}' does not broadcast against {name!r}")
        with np.errstate(over="ignore"):
            values *= scale
        if not np.isfinite(values).all():
            raise InvalidFile(f"the array {name!r} overflows with its scales")
        return values


def show(value: Any) -> str:
    """Format a value of a file for a message."""
    return shorten(repr(value), 80)


def shorten(text: str, length: int = 200) -> str:
    """Shorten text of a file for a message, and replace its control characters."""
    text = "".join(c if c.isprintable() else "?" for c in text[: length + 1])
    return text if len(text) <= length else f"{text[: length - 3]}..."
