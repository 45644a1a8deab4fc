"""The files of a checkpoint, and how to read them.

A *workdir* holds checkpoints of numbered steps, ``checkpoints/STEP/``, of three items:

- ``config/metadata``: JSON with the experiment, the step, the training data and a format version;
- ``model/``: what inference needs: the averaged parameters (and batch statistics);
- ``training/``: what resuming needs in addition.

A checkpoint that is *bundled* with the package is a workdir with a single step and no ``training``.

Orbax writes the checkpoints (`hyperfunc.experiment.workdir`): each tree of arrays as an OCDBT
database of Zarr arrays, which are named by their path in the tree. TensorStore, the library below
Orbax, reads them here. Where a file is damaged it raises one exception, while Orbax in addition
prints tracebacks of the reads that it gives up; and Orbax takes a second to import.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from hyperfunc.errors import UserError
from hyperfunc.experiment.config import Experiment, from_dict, to_dict
from hyperfunc.experiment.mirror import find_uploaded
from hyperfunc.files import Address

FORMAT = 1
"""Version of the layout above; raised when an older reader would misunderstand it."""


class Config(NamedTuple):
    """What a checkpoint says about the run that wrote it."""

    experiment: Experiment
    data: str
    """The training images, see `hyperfunc.data.ImageSource.identify`; "" if it does not say."""


def find_steps(workdir: Path) -> list[int]:
    """List the steps of the complete checkpoints of a workdir, in ascending order."""
    if isinstance(workdir, Address):
        return find_uploaded(workdir)
    folders = (workdir / "checkpoints").glob("*")
    return sorted(int(folder.name) for folder in folders if folder.name.isdigit())


def make_config(step: int, experiment: Experiment, data: str) -> dict[str, Any]:
    """Make the JSON of the item ``config``."""
    return {"format": FORMAT, "step": step, "experiment": to_dict(experiment), "data": data}


def read_config(workdir: Path, step: int) -> Config:
    """Read the item ``config``."""
    with _reporting(workdir, step):
        config = json.loads((_item(workdir, step, "config") / "metadata").read_text("utf-8"))
        if not isinstance(config, dict):
            raise ValueError("config holds no JSON object")
    if config.get("format") != FORMAT:
        raise UserError(
            f"{workdir}, step {step}: its format is {config.get('format')!r} and this version of "
            f"hyperfunc reads {FORMAT}: use the version that wrote it"
        )
    try:
        return Config(from_dict(config.get("experiment", {})), config.get("data", ""))
    except UserError as error:
        raise UserError(f"{workdir}, step {step}: {error}") from error


def read_arrays(workdir: Path, step: int, item: str, like: Any) -> Any:
    """Read the item ``model`` or ``training``.

    ``like`` is the tree to read, with a `jax.ShapeDtypeStruct` in place of each array.

    Raises:
        UserError: a file is missing or damaged, or the item holds other arrays.
    """
    import tensorstore as ts  # `hyperfunc --help` does not need it.

    database = {
        "driver": "ocdbt",
        "base": {"driver": "file", "path": f"{_item(workdir, step, item).as_posix()}/"},
    }
    context = ts.Context()

    def read(path: Any, leaf: Any) -> jax.Array:
        name = _name(path)
        array = ts.open(
            {
                "driver": "zarr",
                "kvstore": {**database, "path": f"{name}/"},
                "fill_missing_data_reads": False,  # A missing chunk is an error, not zeros.
            },
            open=True,
            context=context,
        ).result()
        if (array.shape, array.dtype.numpy_dtype) != (leaf.shape, leaf.dtype):
            raise ValueError(f"{item}: {name} is {array.dtype.name}{list(array.shape)}")
        return jax.make_array_from_callback(
            leaf.shape, leaf.sharding, lambda index: array[index].read().result()
        )

    with _reporting(workdir, step):
        keys = ts.KvStore.open(database, context=context).result().list().result()
        stored = {key.decode().rpartition("/")[0] for key in keys}
        wanted = {_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(like)}
        if different := sorted(stored ^ wanted):
            raise ValueError(
                f"{item}: {different[0]} is "
                + ("missing" if different[0] in wanted else "no part of this model")
            )
        return jax.tree_util.tree_map_with_path(read, like)


def _item(workdir: Path, step: int, item: str) -> Path:
    return workdir.resolve() / "checkpoints" / str(step) / item


def _name(path: Any) -> str:
    """Name an array by its path in the tree as Orbax does."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def shorten(error: BaseException) -> str:
    """Describe an exception, whose message may have many lines, in one."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


@contextlib.contextmanager
def _reporting(workdir: Path, step: int) -> Iterator[None]:
    """Turn what Python and TensorStore raise for missing and damaged files into a `UserError`."""
    try:
        yield
    except (OSError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{workdir}: the checkpoint of step {step} cannot be read ({shorten(error)}): remove "
            "that step to continue from an earlier one, or train again in another folder"
        ) from error
