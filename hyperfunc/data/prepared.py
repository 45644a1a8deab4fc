"""Data prepared by TFDS, read without TensorFlow. TFDS is imported on first use."""

import functools
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hyperfunc.data.source import ImageSource
from hyperfunc.errors import UserError, check_extra
from hyperfunc.images import read_image
from hyperfunc.types import HostImage

Transform = Callable[[HostImage], HostImage]

IMAGE_FEATURES = ("hr", "image")
"""Names of the features that may hold the image, in order of preference."""


def find_prepared(folder: Path) -> Path | None:
    """Find prepared data in a folder or below it; of several, the highest version."""
    found = [info.parent for info in folder.glob("**/dataset_info.json")]
    return max(found, key=lambda path: (_version(path), str(path)), default=None)


def open_prepared(path: Path, *, split: str, transform: Transform | None = None) -> ImageSource:
    """Open prepared data; for a split that they lack, another evaluation split or their only one.

    Examples without a `name` are named by their number.
    """
    check_extra("train", "data prepared by TFDS")
    import tensorflow_datasets as tfds

    try:
        builder: Any = tfds.builder_from_directory(path)
        features = builder.info.features
        feature = next((name for name in IMAGE_FEATURES if name in features), None)
        splits = list(builder.info.splits)
        if feature is None or not splits:
            raise UserError(f"{path}: holds no images; prepare it again, or give another folder")
        split = _match_split(path, split, splits)
        records = builder.as_data_source(split, decoders={feature: tfds.decode.SkipDecoding()})
        digits = len(str(len(records)))
        names = [f"{i:0{digits}}" for i in range(len(records))]
        if "name" in features:
            names = [record["name"].decode() for record in records]
    # TFDS raises one of these for files that are missing, damaged or of another format.
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: cannot be read ({reason}); prepare it again with file_format='array_record'"
        ) from error
    read = functools.partial(_read_record, path, records, feature, names, transform)
    return ImageSource(f"{builder.info.name} ({split})", names, read)


def _read_record(
    path: Path, records: Any, feature: str, names: list[str], transform: Transform | None, i: int
) -> HostImage:
    name = f"{path}, {names[i]}"
    image = read_image(io.BytesIO(records[i][feature]), name=name)
    try:
        return image if transform is None else transform(image)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _match_split(path: Path, split: str, splits: list[str]) -> str:
    wanted = {"test": ("test", "validation"), "val": ("validation", "val")}.get(split, (split,))
    for name in wanted:
        if name in splits:
            return name
    if len(splits) == 1:
        return splits[0]
    raise UserError(f"{path}: there is no split {split!r}; choose one of {', '.join(splits)}")


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.name))
