"""An exported model: what inference needs of a checkpoint, in a folder of two files.

- ``config.json``: a format version, the step, the experiment as plain data, and what a network
  with a window per pixel reads around a pixel (null for others);
- ``model.safetensors``: the variables, each named by its path in the tree, such as
  ``params.backbone.Conv_0.kernel``. Its metadata list the branches without variables.

Reading them imports neither Flax nor Orbax.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hyperfunc.errors import UserError
from hyperfunc.files import as_path, fetching, replacing
from hyperfunc.types import Neighbourhood

BUNDLED = Path(__file__).parents[1] / "checkpoints"
"""The folder of the models that come with the package, one for each preset."""

CONFIG, WEIGHTS = "config.json", "model.safetensors"

EMPTY = "empty"
"""The entry of the metadata that lists branches without variables."""

FORMAT = 1
"""Version of this layout; raised when an older reader would misunderstand it."""


class Exported(NamedTuple):
    """What ``config.json`` says."""

    step: int
    experiment: dict[str, Any]
    """Plain data, see `hyperfunc.experiment.to_dict`."""
    receptive_radius: int | None
    base_radius: int = 0
    alignment: int = 1

    @classmethod
    def of(cls, step: int, experiment: dict[str, Any], reads: Neighbourhood | None) -> "Exported":
        """Describe a model that reads so much around a pixel."""
        return cls(step, experiment, *reads) if reads else cls(step, experiment, None)

    @property
    def reads(self) -> Neighbourhood | None:
        """What the network reads around a pixel, if it has a window per pixel."""
        if self.receptive_radius is None:
            return None
        return Neighbourhood(self.receptive_radius, self.base_radius, self.alignment)


def find_folder(path: str | Path) -> tuple[Path, bool]:
    """Find the folder of a model, and whether it comes with the package."""
    bundled = {folder.name for folder in BUNDLED.glob("*/")}
    is_bundled = isinstance(path, str) and path in bundled
    folder = BUNDLED / path if is_bundled else as_path(path)
    if not folder.is_dir():
        names = ", ".join(sorted(bundled)) or "none"
        raise UserError(
            f"no checkpoint: {folder} is not a folder; give that of a training run (train.py's "
            f"--workdir), or a name (bundled checkpoints: {names})"
        )
    return folder, is_bundled


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / CONFIG).is_file()


def write_exported(folder: Path, exported: Exported, variables: dict[str, Any]) -> None:
    """Write an exported model, whose variables are nested dictionaries of arrays."""
    import jax  # Reading does without.

    arrays, empty = {}, []
    leaves = jax.tree.leaves_with_path(variables, is_leaf=lambda x: isinstance(x, dict) and not x)
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if isinstance(leaf, dict):
            empty.append(name)
        else:
            arrays[name] = np.asarray(leaf, order="C")
    with replacing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(arrays, {EMPTY: " ".join(empty)}))
    with replacing(folder / CONFIG) as temporary:
        text = json.dumps({"format": FORMAT, **exported._asdict()}, indent=1)
        temporary.write_text(text + "\n", "utf-8")


def read_exported(folder: Path) -> Exported:
    """Read ``config.json``."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text("utf-8"))
        version = config.pop("format", None)
        if version != FORMAT:
            raise UserError(
                f"{path}: its format is {version!r} and this version of hyperfunc reads {FORMAT}: "
                "use the version that wrote it"
            )
        exported = Exported(**config)
        exported.experiment["model"]
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}): export the model again") from error
    return exported


def read_variables(folder: Path) -> dict[str, Any]:
    """Read the variables from the mapped file, as arrays of NumPy."""
    variables: dict[str, Any] = {}
    with _open_weights(folder) as file:
        for name in file.keys():
            _insert(variables, name, file.get_tensor(name))
        for name in (file.metadata() or {}).get(EMPTY, "").split():
            _insert(variables, name, {})
    return variables


def count_parameters(folder: Path) -> int:
    """Count the numbers in ``model.safetensors`` from its header."""
    with _open_weights(folder) as file:
        return sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())


@contextlib.contextmanager
def _open_weights(folder: Path) -> Iterator[Any]:
    """Map ``model.safetensors``; what fails while it is read becomes a `UserError`, too."""
    path = folder / WEIGHTS
    try:
        with fetching(path) as copy, safe_open(copy, framework="numpy") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}): export the model again") from error


def _insert(tree: dict[str, Any], path: str, leaf: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = leaf
