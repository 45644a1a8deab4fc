"""Paths in object stores: addresses such as ``s3://bucket/photos/a.png``.

They are paths of `pathlib` whose methods go through fsspec. What has no such method, such as
globbing, is refused: in the hands of the operating system an address would name a local file.
"""

import contextlib
import errno
import functools
import inspect
import io
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hyperfunc.errors import UserError

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
"""The start of an address such as ``gs://bucket`` or ``https://``, of whose slashes `Path` leaves
one. Two letters at least: one is a drive."""

STORES = ("gs", "memory", "s3")
"""The schemes of addresses that can be used: of stores that replace an object as a whole."""

GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.full_control"
"""What a login to Google's store is for, as gcsfs asks for it."""

GOOGLE_TRIES = 4
"""How often gcsfs asks Google's servers where they cannot be reached, or are busy. Between them it
waits for 8.5 seconds altogether; its own six tries, for 34."""

CONNECTION_TIME = 3.0
"""Seconds after which a connection to them counts as failed."""

LOCAL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
"""Of the disk that a file is downloaded to; all others are the store's."""

TIMES = ("LastModified", "mtime", "created")
"""Where the stores say when a file was written."""


class _Status(NamedTuple):
    """What a store knows of the result of `os.stat`."""

    st_size: int
    st_mtime_ns: int
    st_mode: int


class Address(type(Path())):
    """A file or a folder in an object store. Folders exist as soon as there are files in them."""

    def __str__(self) -> str:
        """The address, with both slashes."""
        scheme, *others = self.parts or ("",)
        return f"{scheme}//{'/'.join(others)}" if scheme.endswith(":") else "/".join(self.parts)

    def __fspath__(self) -> str:
        """Refuse to be used as a path of this machine.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"{self}: is an address, and only local files and folders can be used here: copy it to "
            "the disk, or mount it as a folder"
        )

    def as_posix(self) -> str:
        """Return the address."""
        return str(self)

    @property
    def store(self) -> Any:
        """The file system of fsspec."""
        return _open_store(self.parts[0].removesuffix(":"))

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        """Ask the store for the size of a file, and when it was written."""
        del follow_symlinks
        with _asking(self):
            return _to_status(self.store.info(str(self)))

    @property
    def _mode(self) -> int:
        """Its kind as `os.stat` gives it, by one request; 0 if it does not exist."""
        try:
            return self.stat().st_mode
        except FileNotFoundError:
            return 0

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether there is such a file, or files in such a folder."""
        del follow_symlinks
        return self._mode != 0

    def is_dir(self, **_: Any) -> bool:
        """Tell whether there are files in such a folder."""
        return stat.S_ISDIR(self._mode)

    def is_file(self, **_: Any) -> bool:
        """Tell whether there is such a file."""
        return stat.S_ISREG(self._mode)

    def is_absolute(self) -> bool:
        """Every address is."""
        return True

    def is_symlink(self) -> bool:
        """Stores have no links."""
        return False

    def absolute(self) -> "Address":
        """Return this address."""
        return self

    def resolve(self, strict: bool = False) -> "Address":
        """Return this address."""
        del strict
        return self

    def expanduser(self) -> "Address":
        """Return this address."""
        return self

    def samefile(self, other_path: Any) -> bool:
        """Tell whether another path is the same."""
        return self == as_path(other_path)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder exists as soon as there is a file in it."""

    def glob(self, *_: Any, **__: Any) -> Any:
        """Refuse: pathlib would look for the folder on the disk, and find nothing."""
        os.fspath(self)

    rglob = glob

    def walk(self, *_: Any, **__: Any) -> "Iterator[tuple[Address, list[str], list[str]]]":
        """Yield this folder and those below it, with the names of their folders and files."""
        entries = read_folder(self)
        folders = sorted(name for name, size in entries.items() if size is None)
        yield self, folders, sorted(entries.keys() - set(folders))
        for name in folders:
            yield from (self / name).walk()

    def read_bytes(self) -> bytes:
        """Read a file."""
        with _asking(self):
            return self.store.cat_file(str(self))

    def read_text(self, encoding: Any = None, errors: Any = None, *_: Any) -> str:
        """Read a file as text, UTF-8 by default."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def open(self, mode: str = "r", *_: Any, **__: Any) -> Any:  # pyright: ignore
        """Open a file for reading in binary: its bytes in memory.

        Raises:
            UserError: the mode is another one.
        """
        return io.BytesIO(self.read_bytes()) if mode == "rb" else open(self)

    def write_bytes(self, data: Any) -> int:
        """Write a file, in one piece: it is replaced as a whole, or not at all."""
        with _asking(self):
            self.store.pipe_file(str(self), bytes(data))
        return len(data)

    def upload(self, file: Path) -> None:
        """Write the content of a local file as `write_bytes` does."""
        with _asking(self):
            self.store.put_file(os.fspath(file), str(self))

    def download(self, file: Path) -> None:
        """Write the content of this file to a local one."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with _asking(self):
            self.store.get_file(str(self), os.fspath(file))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove a file."""
        try:
            with _asking(self):
                self.store.rm_file(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmtree(self) -> None:
        """Remove what is below this folder."""
        with contextlib.suppress(FileNotFoundError), _asking(self):
            self.store.rm(str(self), recursive=True)


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return a path of this machine, or an `Address`.

    Raises:
        UserError: it is an address, but none of a store that can be used.
    """
    if isinstance(path, Address):
        return path
    text = os.fsdecode(path)
    match = ADDRESS.match(text)
    if not match:
        return Path(path)
    scheme, rest = match[1].lower(), text[match.end() :]
    if scheme == "file":
        return Path(f"/{rest}")
    if scheme not in STORES:
        raise UserError(
            f"{match[1]}://{rest}: is an address, and only {', '.join(f'{x}://' for x in STORES)} "
            "and local files and folders can be used: copy it to the disk, or mount it as a folder"
        )
    return Address(f"{scheme}:", *filter(None, rest.split("/")))


def read_folder(folder: Path) -> dict[str, Any]:
    """List what lies directly in a folder of a store: sizes in bytes by name, None for folders.

    A folder that does not exist is empty. Empty objects that consoles make for folders, whose names
    end with "/", are left out.
    """
    assert isinstance(folder, Address)
    try:
        with _asking(folder):
            found = folder.store.ls(str(folder), detail=True)
    except FileNotFoundError:
        return {}
    return {
        info["name"].rstrip("/").rpartition("/")[2]: (
            info["size"] if info["type"] == "file" else None
        )
        for info in found
        if not (info["type"] == "file" and info["name"].endswith("/"))
    }


@contextlib.contextmanager
def fetching(path: Path) -> Iterator[Path]:
    """Give the path of a local copy of a file of a store; of a local file, its own path."""
    path = as_path(path)
    if not isinstance(path, Address):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="hyperfunc-") as folder:
        copy = Path(folder) / path.name
        path.download(copy)
        yield copy


@functools.cache
def _open_store(scheme: str) -> Any:
    try:
        import fsspec  # Only addresses need it.

        kind = fsspec.get_filesystem_class(scheme)
        options = {"use_listings_cache": False}
        return _open_google(kind, options) if scheme == "gs" else kind(**options)
    except ImportError as error:
        raise UserError(
            f"{scheme}:// needs the extra 'cloud' ({error}): pip install 'hyperfunc[cloud]'"
        ) from error


def _open_google(kind: Any, options: dict[str, Any]) -> Any:
    """Open gcsfs so that it fails within seconds, and not minutes, where there is no network.

    Its number of tries is no option, but an argument of a decorator. Without a login, public
    buckets can be read; it would look for one on Google's machines again.
    """
    import google.auth
    from aiohttp import ClientTimeout
    from gcsfs.retry import retry_request
    from google.auth.exceptions import DefaultCredentialsError

    try:
        login, _ = google.auth.default([GOOGLE_SCOPE])
    except DefaultCredentialsError:
        login = "anon"
    decorate: Any = retry_request
    request = decorate(retries=GOOGLE_TRIES)(inspect.unwrap(kind._request))
    patient = type(kind.__name__, (kind,), {"_request": request})
    timeout = ClientTimeout(total=None, connect=CONNECTION_TIME, sock_read=60)
    return patient(**options, token=login, requests_timeout=timeout, retry_timeout=10)


@contextlib.contextmanager
def _asking(path: Address) -> Iterator[None]:
    """Turn whatever the libraries of a store raise into an OSError of one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    except UserError:
        raise
    except Exception as error:  # They share no class: no login, no such host, no answer.
        if isinstance(error, OSError) and error.errno in LOCAL_ERRORS:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise OSError(errno.EIO, reason, str(path)) from error


def _to_status(info: dict[str, Any]) -> _Status:
    kind = stat.S_IFREG if info["type"] == "file" else stat.S_IFDIR
    written = next((info[name] for name in TIMES if hasattr(info.get(name), "timestamp")), None)
    nanoseconds = int(written.timestamp() * 10**6) * 1000 if written else 0
    return _Status(info.get("size") or 0, nanoseconds, kind)
