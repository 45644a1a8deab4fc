"""Where images come from: one function, `open_dataset`, from a name or a path to an `ImageSource`.

| name | what | where |
|---|---|---|
| `set5` `set14` `b100` `urban100` | the test sets | a folder, prepared by TFDS, or downloaded |
| `cbsd68` | 68 images of `b100` | named by `<data_dir>/benchmarks/cbsd68.txt`, one a line |
| `live1` `classic5` | the test sets of JPEG artefacts | a folder in `<data_dir>/benchmarks` |
| `sample` | five photographs | in scikit-image's wheel: needs no data |
| `train` | training images for super-resolution | everything below `<data_dir>/train` |
| `faces` | a selection of CelebA faces | `<data_dir>/faces/{train,val,test}.zip` |
| `celeb_a` `div2k` | the full sets | TFDS's own builders |
| a path | a folder of images, a zip of images, or data prepared by TFDS | |

Faces are those of the paper: the centre 128 x 128 pixels of an aligned CelebA image, resized.

Reference: Liu et al. 2015, "Deep learning face attributes in the wild" (CelebA).
"""

import difflib
import functools
import importlib.resources
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from hyperfunc.data.prepared import find_prepared, open_prepared
from hyperfunc.data.source import ImageSource
from hyperfunc.errors import UserError, check_extra
from hyperfunc.files import as_path
from hyperfunc.images import SUFFIXES, FileReader, ImageFile, find_images, name_files
from hyperfunc.pixels import imresize
from hyperfunc.types import HostImage

logger = logging.getLogger(__name__)

BENCHMARKS = ("set5", "set14", "b100", "urban100")
"""The test sets of super-resolution."""

RESTORATION_SETS = ("cbsd68", "live1", "classic5")
"""The test sets of restoration beside them, which are not downloaded."""

DATASETS = (*BENCHMARKS, *RESTORATION_SETS, "sample", "train", "faces", "celeb_a", "div2k")
"""All names that `open_dataset` knows."""

CROP_SIDE = 128
"""Side of the centre crop of a face, in pixels of the 218 x 178 originals."""

FACE_SIZES = (64, 128)
"""Sides of the faces that `make_face_transform` makes, in pixels; the paper's are 64 x 64."""

_SAMPLE_FILES = {
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}
_SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
_TFDS_NAMES = {"div2k": "div2k/bicubic_x4"}
"""The names of datasets whose builders TFDS calls otherwise."""


def open_dataset(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split: str = "test",
    strict: bool = True,
    size: int = 64,
) -> ImageSource:
    """Open a dataset by its name, or a folder or zip of images by its path.

    Image files are decoded once on opening, so that a bad one shows now and not in an hour. Data
    prepared by TFDS were checked by TFDS, and are decoded when they are asked for. A name takes
    precedence over a folder of the same name: write `./train` for the folder.

    Args:
        name: one of `DATASETS`, or a path.
        data_dir: the folder with the image folders or prepared TFDS data; by default the
            environment variable `HYPERFUNC_DATA_DIR`. Without either, TFDS stores the test sets,
            `celeb_a` and `div2k` in its own folder; `sample` needs none.
        split: `train`, `val` or `test`, for the datasets that have these parts; others ignore it.
        strict: whether an unreadable or tiny image (a side below `hyperfunc.data.source.MIN_SIDE`)
            is an error, as evaluation needs it. Otherwise it is left out with a warning, as suits
            training.
        size: side of the images of `faces` and `celeb_a` in pixels, 64 or 128.

    Raises:
        UserError: there is no such dataset, it is missing and cannot be downloaded, or (strict) one
            of its images is bad.
        ValueError: the split or the size is none of those above.
    """
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
    split = _SPLITS[split]
    name = os.fspath(name)
    if name == "sample":
        return _open_sample()
    if name not in DATASETS:
        return _open_path(as_path(name).expanduser(), split, strict)
    root = _find_data_dir(data_dir)
    if name == "faces":
        return _open_faces(root, split, size).verify(strict=strict)
    if name == "celeb_a":
        path = _find_or_download(name, root)
        return open_prepared(path, split=split, transform=make_face_transform(size))
    if name == "cbsd68":
        return _open_cbsd68(root)
    folder = _open_folder(name, root, strict)
    return folder or open_prepared(_find_or_download(name, root), split=split)


def _find_data_dir(data_dir: str | os.PathLike[str] | None) -> Path | None:
    given = data_dir or os.environ.get("HYPERFUNC_DATA_DIR")
    if not given:
        return None
    root = as_path(given).expanduser()
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; give the data folder as --data_dir or HYPERFUNC_DATA_DIR"
        )
    return root


def _missing(root: Path | None, name: str) -> UserError:
    """Make the error for a dataset that is not in the data folder."""
    if root is None:
        return UserError(
            f"{name}: needs the data folder; give it as --data_dir or HYPERFUNC_DATA_DIR"
        )
    return UserError(
        f"{name}: not found in {root}; put it there as {root / name}, or give another --data_dir"
    )


def _open_sample() -> ImageSource:
    check_extra("eval", "the dataset 'sample'")
    folder = Path(str(importlib.resources.files("skimage"))) / "data"
    files = [ImageFile(folder, file) for file in _SAMPLE_FILES.values()]
    return ImageSource("sample", list(_SAMPLE_FILES), FileReader(files))


def _open_files(name: str, files: list[ImageFile]) -> ImageSource:
    return ImageSource(name, name_files(files), FileReader(files))


def _open_folder(name: str, root: Path | None, strict: bool) -> ImageSource | None:
    for folder in (root / "benchmarks" / name, root / name) if root else ():
        if files := find_images(folder):
            return _open_files(name, files).verify(strict=strict)
    return None


def _open_cbsd68(root: Path | None) -> ImageSource:
    """Select the images of `b100` whose names the list holds.

    Reference: Roth and Black 2009, "Fields of experts", for the selection.
    """
    path = (root or Path()) / "benchmarks" / "cbsd68.txt"
    if root is None or not path.is_file():
        raise _missing(root, "benchmarks/cbsd68.txt")
    names = path.read_text("utf-8").split()
    source = open_dataset("b100", data_dir=root)
    if missing := set(names) - set(source.names):
        raise UserError(f"{path} names {min(missing)}, which b100 does not have: complete b100")
    part = source.select([source.names.index(name) for name in names])
    part.description = "cbsd68"
    return part


def _open_faces(root: Path | None, split: str, size: int) -> ImageSource:
    transform = make_face_transform(size)
    archive = (root or Path()) / "faces" / f"{split}.zip"
    if root is None or not archive.is_file():
        raise _missing(root, f"faces/{split}.zip")
    files = find_images(archive)
    more = archive.with_name("train64_more.zip")
    if split == "train" and size == 64 and more.is_file():  # These exist at 64 x 64 only.
        files += find_images(more)
    reader = FileReader(files, transform)
    return ImageSource(f"faces ({split})", name_files(files), reader)


def _open_path(path: Path, split: str, strict: bool) -> ImageSource:
    if not path.exists():
        near = difflib.get_close_matches(str(path).lower(), DATASETS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"{path}: no such dataset{hint}; give one of {', '.join(DATASETS)}, or a folder or zip "
            "of images"
        )
    logger.info("reading the images in %s", path)
    files = find_images(path)
    if not files and path.is_dir() and (prepared := find_prepared(path)):
        return open_prepared(prepared, split=split)
    if not files:
        raise UserError(f"{path}: holds no images; give a folder or zip with {', '.join(SUFFIXES)}")
    return _open_files(str(path), files).verify(strict=strict)


def _find_or_download(name: str, root: Path | None) -> Path:
    """Find prepared data, or have TFDS download and prepare them."""
    if root and (path := find_prepared(root / name)):
        return path
    if name in ("train", *RESTORATION_SETS):
        raise _missing(root, name)
    check_extra("train", f"downloading {name}, which no --data_dir holds,")
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.extractor import ExtractError

    from hyperfunc.data import builders

    try:
        if name in builders.BUILDERS:
            return builders.prepare(name, root)
        tfds_name = _TFDS_NAMES.get(name, name)
        builder = tfds.builder(tfds_name, data_dir=root, file_format="array_record")
        builder.download_and_prepare()
        return Path(builder.data_path)
    except ImportError as error:
        raise UserError(
            f"{name}: TFDS needs more packages to prepare it ({_shorten(error)}); pip install "
            "tensorflow importlib_resources, or give a folder of its images as --dataset"
        ) from error
    except (
        OSError,  # What requests raises is one, too.
        ValueError,
        RuntimeError,
        AssertionError,  # TFDS's way to say that files are missing.
        tfds.download.DownloadError,
        NonMatchingChecksumError,
        ExtractError,
    ) as error:
        raise UserError(
            f"{name}: cannot be downloaded ({_shorten(error)}); give --data_dir with its images in "
            f"benchmarks/{name} or {name}, or a folder of images as --dataset"
        ) from error


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def make_face_transform(size: int) -> Callable[[HostImage], UInt8[np.ndarray, "size size 3"]]:
    """Return a function that turns a CelebA image into a face of one of `FACE_SIZES`."""
    if size not in FACE_SIZES:
        raise ValueError(f"faces come in sizes {FACE_SIZES}, got {size}")
    return functools.partial(_crop_face, size=size)


def _crop_face(image: HostImage, *, size: int) -> UInt8[np.ndarray, "size size 3"]:
    height, width = image.shape[:2]
    if (height, width) == (size, size):  # The file holds the cropped and resized face.
        return image
    # Rows 45..172 and columns 25..152 of the 218 x 178 originals. The files of `faces/*.zip` are
    # 154 x 146 windows around the same centre: rows 13..140, columns 9..136.
    top, left = (height - CROP_SIDE) // 2, (width - CROP_SIDE) // 2
    if top < 0 or left < 0:
        raise UserError(
            f"an image of {height} x {width} pixels is too small: a face needs {CROP_SIDE} x "
            f"{CROP_SIDE}; remove it"
        )
    image = image[top : top + CROP_SIDE, left : left + CROP_SIDE]
    return imresize(image, (size, size)) if size != CROP_SIDE else np.ascontiguousarray(image)
