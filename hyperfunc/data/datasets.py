"""Where images come from: one function, `open_dataset`, from a name or a path to an `ImageSource`.

| name | what | where |
|---|---|---|
| `set5` `set14` `b100` `urban100` | the four test sets | folder, prepared by TFDS, or downloaded |
| `sample` | five photographs | in scikit-image's wheel: needs nothing |
| `train` | images to train super-resolution on | all that lies below `<data_dir>/train` |
| `faces` | a selection of CelebA faces | `<data_dir>/faces/{train,val,test}.zip` |
| `celeb_a` `div2k` | the full sets | TFDS's own builders |
| a path | a folder of images, a zip of images, or data prepared by TFDS | |
"""

import difflib
import importlib.resources
import os
from pathlib import Path

from hyperfunc.data.faces import make_face_transform
from hyperfunc.data.prepared import find_prepared, open_prepared
from hyperfunc.data.source import MIN_SIDE, ImageSource
from hyperfunc.errors import UserError
from hyperfunc.images import FileReader, ImageFile, find_images, name_files

__all__ = ["BENCHMARKS", "DATASETS", "MIN_SIDE", "ImageSource", "open_dataset"]

BENCHMARKS = ("set5", "set14", "b100", "urban100")
"""The test sets of the protocol."""

DATASETS = (*BENCHMARKS, "sample", "train", "faces", "celeb_a", "div2k")
"""Every name that `open_dataset` knows."""

_SAMPLE = {
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}
_SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}


def open_dataset(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split: str = "test",
    strict: bool = True,
    size: int = 64,
) -> ImageSource:
    """Opens a dataset by its name, or a folder or zip of images by its path.

    Files are decoded once on opening, so that a bad one shows now and not in an hour; data that
    TFDS prepared was checked when it was prepared, and is decoded when it is asked for. A name goes
    before a folder of the same name: write `./train` for the folder.

    Args:
      name: one of `DATASETS`, or a path.
      data_dir: the folder of image folders or prepared TFDS data; the environment variable
        `HYPERFUNC_DATA_DIR` if None. Without either, the test sets, `celeb_a` and `div2k` go to
        TFDS's own place; `sample` needs none.
      split: `train`, `val` or `test`, for the sets that have such parts; the others ignore it.
      strict: whether an unreadable or tiny image (a side below `MIN_SIDE`) is an error, for
        evaluation; otherwise it is named in a warning and left out, for training.
      size: side of the images of `faces` and `celeb_a` in pixels, 64 or 128.

    Raises:
      UserError: if there is no such dataset, it is not there and cannot be downloaded, or (strict)
        one of its images is bad.
      ValueError: if the split or the size is none of those above.
    """
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
    split = _SPLITS[split]
    name = os.fspath(name)
    if name == "sample":
        shipped = Path(str(importlib.resources.files("skimage"))) / "data"
        files = [ImageFile(shipped, file) for file in _SAMPLE.values()]
        return ImageSource("sample", list(_SAMPLE), FileReader(files))
    if name not in DATASETS:
        return _open_path(Path(name).expanduser(), split, strict)
    root = _data_dir(data_dir)

    if name in BENCHMARKS or name == "train":
        folders = [root / "benchmarks" / name, root / name] if root else []
        for folder in folders:
            if files := find_images(folder):
                return _open_files(name, files).verify(strict=strict)
        path = find_prepared(root / name) if root else None
        if path is None and name == "train":
            raise _missing(root, name)
        path = path or _download(name, root)
        return open_prepared(path, split=split)

    if name == "faces":
        return _open_faces(root, split, size).verify(strict=strict)

    if name == "celeb_a":
        path = (find_prepared(root / name) if root else None) or _download(name, root)
        transform = make_face_transform(size)
        return open_prepared(path, split=split, transform=transform)

    path = (find_prepared(root / name) if root else None) or _download("div2k/bicubic_x4", root)
    return open_prepared(path, split=split)


def _data_dir(data_dir: str | os.PathLike[str] | None) -> Path | None:
    given = data_dir or os.environ.get("HYPERFUNC_DATA_DIR")
    if not given:
        return None
    root = Path(given).expanduser()
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; give the folder of the data as --data_dir or "
            "HYPERFUNC_DATA_DIR"
        )
    return root


def _missing(root: Path | None, name: str) -> UserError:
    """The error that says what of the data is missing."""
    if root is None:
        return UserError(
            f"{name}: needs the folder of the data; give it as --data_dir or HYPERFUNC_DATA_DIR"
        )
    return UserError(
        f"{name}: not found in {root}; put it there as {root / name}, or give another --data_dir"
    )


def _open_files(name: str, files: list[ImageFile]) -> ImageSource:
    return ImageSource(name, name_files(files), FileReader(files))


def _open_faces(root: Path | None, split: str, size: int) -> ImageSource:
    transform = make_face_transform(size)
    archive = (root or Path()) / "faces" / f"{split}.zip"
    if root is None or not archive.is_file():
        raise _missing(root, f"faces/{split}.zip")
    files = find_images(archive)
    more = archive.with_name("train64_more.zip")
    if split == "train" and size == 64 and more.is_file():  # those exist in 64 x 64 only
        files += find_images(more)
    reader = FileReader(files, transform)
    return ImageSource(f"faces ({split})", name_files(files), reader)


def _open_path(path: Path, split: str, strict: bool) -> ImageSource:
    if not path.exists():
        near = difflib.get_close_matches(str(path), DATASETS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"{path}: no such dataset{hint}; take one of {', '.join(DATASETS)}, or a folder or zip "
            "of images"
        )
    files = find_images(path)
    if not files and path.is_dir() and (prepared := find_prepared(path)):
        return open_prepared(prepared, split=split)
    if not files:
        raise UserError(f"{path}: holds no images; give a folder or zip with .png, .jpg or .webp")
    return _open_files(str(path), files).verify(strict=strict)


def _download(name: str, root: Path | None) -> Path:
    """Has TFDS download and prepare a dataset; returns at once if that was done before."""
    import tensorflow_datasets as tfds

    from hyperfunc.data import builders

    try:
        if name in builders.BUILDERS:
            return builders.prepare(name, root)
        builder = tfds.builder(name, data_dir=root, file_format="array_record")
        builder.download_and_prepare()
        return Path(builder.data_path)
    except UserError:
        raise
    # What a failing download raises depends on where it fails, in TFDS, requests or urllib3.
    except Exception as error:
        name = name.partition("/")[0]
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        if isinstance(error, ImportError):
            raise UserError(
                f"{name}: TFDS needs more packages to prepare it ({reason}); pip install "
                "tensorflow importlib_resources, or give a folder of its images as --dataset"
            ) from error
        raise UserError(
            f"{name}: cannot be downloaded ({reason}); give --data_dir with its images in "
            f"benchmarks/{name} or {name}, or a folder of images as --dataset"
        ) from error
