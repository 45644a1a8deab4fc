"""Find and read the image files of a folder or a zip archive."""

import dataclasses
import functools
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from hyperfunc.errors import UserError
from hyperfunc.files import Address, as_path
from hyperfunc.images.libvips import CODECS
from hyperfunc.images.other_formats import PILLOW_SUFFIXES
from hyperfunc.images.read import read_image

SUFFIXES = tuple(
    sorted({*(x for codec in CODECS.values() for x in codec.suffixes), *PILLOW_SUFFIXES})
)
"""Suffixes of the files that are taken for images."""


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file in a folder or a zip archive, by its path there with `/` between the parts."""

    root: Path
    member: str
    in_zip: bool = False

    def read_bytes(self) -> bytes:
        """Read the encoded file.

        Raises:
            UserError: it cannot be read.
        """
        try:
            if self.in_zip:
                return _open_zip(self.root, *_identity(self.root)).read(self.member)
            return (self.root / self.member).read_bytes()
        except (OSError, RuntimeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{self}: cannot be read ({error}); repair or remove it") from error

    def read(self) -> UInt8[np.ndarray, "h w 3"]:
        """Decode the image; see `hyperfunc.images.read.read_image`."""
        return read_image(io.BytesIO(self.read_bytes()), name=str(self))

    def __str__(self) -> str:
        """The path, with that of the archive if there is one."""
        return str(self.root / self.member)


@dataclasses.dataclass(frozen=True)
class FileReader:
    """Reads one of several files by its index, and transforms it; can be pickled."""

    files: Sequence[ImageFile]
    transform: Callable[[UInt8[np.ndarray, "h w 3"]], UInt8[np.ndarray, "h w 3"]] | None = None

    def __call__(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Read image `i`.

        Raises:
            UserError: it cannot be read, or cannot be transformed.
        """
        image = self.files[i].read()
        if self.transform is None:
            return image
        try:
            return self.transform(image)
        except UserError as error:
            raise UserError(f"{self.files[i]}: {error}") from error


def find_images(root: Path) -> list[ImageFile]:
    """Find the image files in a folder or a zip archive, at any depth, sorted by path.

    Hidden files and folders, those that macOS adds to archives, and members of an archive with
    paths outside of it are ignored.

    Raises:
        UserError: the file is no zip archive, or a folder cannot be listed.
    """
    root = as_path(root)
    in_zip = root.is_file()
    if in_zip:
        names = _open_zip(root, *_identity(root)).namelist()
        members = [name for name in names if _is_visible(name) and _is_image(name)]
    else:
        walk = walk_images(root, _raise)
        members = ["/".join((*folder.parts, name)) for folder, names, _ in walk for name in names]
    return [ImageFile(root, member, in_zip) for member in sorted(members)]


def _raise(folder: Path, error: UserError) -> None:
    raise error


def walk_images(
    root: Path, note: Callable[[Path, UserError], None]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk through a folder as `find_images` does, and keep no more than one folder in memory.

    Links are followed, except to a folder above them. ``note`` is called with each folder that
    cannot be listed and the error; the others are searched.

    Yields:
        Each folder, relative to ``root``; the sorted names of its images, a list that may be
        cleared to free memory; and the names of its other files, except hidden ones.
    """

    def note_folder(error: OSError) -> None:
        if isinstance(error, FileNotFoundError):  # It never existed, or was removed meanwhile.
            return
        reason = f"{error.filename}: cannot be looked into ({error.strerror})"
        remedy = "check who may read it, or move it away"
        note(Path(error.filename), UserError(f"{reason}; {remedy}"))

    if isinstance(root, Address):
        steps = ((folder, folders, files) for folder, folders, files in root.walk())
    else:
        walk = os.walk(root, followlinks=True, onerror=note_folder)
        steps = ((Path(folder), folders, files) for folder, folders, files in walk)
    for folder, folders, files in steps:
        others = [name for name in files if _is_visible(name) and not _is_image(name)]
        # In place: the walk keeps this list.
        files[:] = sorted(name for name in files if _is_visible(name) and _is_image(name))
        yield Path(*folder.relative_to(root).parts), files, others
        folders[:] = sorted(name for name in folders if _is_visible(name))
        links = [path for name in folders if (path := folder / name).is_symlink()]
        if links:  # Resolving is slow, and links are rare.
            chain = [folder, *folder.parents]
            above = {path.resolve() for path in chain[: chain.index(root) + 1]}
            circles = {path.name for path in links if path.resolve() in above}
            folders[:] = [name for name in folders if name not in circles]


def name_files(files: Sequence[ImageFile]) -> list[str]:
    """Name each file by its path, without the suffix if the names are unique without it."""
    short = [str(PurePosixPath(file.member).with_suffix("")) for file in files]
    if len(set(short)) == len(short):
        return short
    return [file.member for file in files]


def _is_visible(member: str) -> bool:
    path = PurePosixPath(member)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and not path.is_absolute()


def _is_image(member: str) -> bool:
    return member[member.rfind(".") :].lower() in SUFFIXES


def _identity(path: Path) -> tuple[int, int]:
    """The version of a file, and the process: a forked one would share the position in the file."""
    return os.getpid(), path.stat().st_mtime_ns


@functools.lru_cache(maxsize=16)
def _open_zip(path: Path, pid: int, mtime_ns: int) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path.open("rb") if isinstance(path, Address) else path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: cannot be read as a zip archive ({error}); give a folder of images or a zip"
        ) from error
