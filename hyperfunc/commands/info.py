"""``hyperfunc info``: describe an image, a checkpoint, or a function file."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from hyperfunc.commands.arguments import Common, CommonFlags, Positional
from hyperfunc.errors import UserError, one_line


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Describe a file: an image, a checkpoint, or a function (.hfn).

    Attributes:
        path: an image, the workdir of a training run, the name of a bundled checkpoint, or a
            function file.
    """

    path: Positional[Annotated[Path, tyro.conf.arg(metavar="PATH")]]
    common: CommonFlags = Common()


def run(arguments: Arguments) -> None:
    """Print what the file is, one property a line."""
    path = arguments.path
    if path.suffix.lower() == ".hfn" and path.is_file():
        _describe_function(path)
    elif path.is_dir() or not path.exists():
        _describe_checkpoint(path)
    else:
        _describe_image(path)


def _describe_function(path: Path) -> None:
    from hyperfunc.export import load_header

    for key, value in load_header(path).items():
        if key != "tensors":
            _print(f"{key}: {value}")


def _describe_checkpoint(path: Path) -> None:
    from hyperfunc.experiment import count_parameters, find_folder, is_exported, read_exported

    if not path.exists() and (len(path.parts) > 1 or path.suffix):
        raise UserError(f"{path}: no such file or folder; check the path")
    folder, _ = find_folder(str(path))  # The name of a bundled model, an exported one, a workdir.
    if is_exported(folder):
        exported = read_exported(folder)
        step, description = exported.step, exported.experiment
        parameters = count_parameters(folder)
    else:
        import jax

        from hyperfunc.experiment import load_model

        model = load_model(folder)
        folder, step, description = model.path, model.step, model.description
        parameters = sum(leaf.size for leaf in jax.tree.leaves(model.variables))
    _print(f"{folder}: checkpoint of step {step}, {parameters:,} parameters")
    for name, component in description.items():
        _print(f"{name}: {component}")


def _describe_image(path: Path) -> None:
    from hyperfunc.images import read_header

    header = read_header(path)
    quality = f" of quality {header.quality}" if header.quality else ""
    _print(f"{path}: {header.format}{quality}, {header.size[1]} x {header.size[0]} pixels")
    _print(f"colours: {header.colours}, {header.bits} bits per channel")
    if header.orientation != 1:
        _print(f"orientation: {header.orientation} (the size above is upright)")
    if header.frames > 1:
        _print(f"images: {header.frames}, of which the first is used")
    metadata = header.metadata
    if metadata.dpi:
        _print("resolution: " + " x ".join(f"{dpi:g}" for dpi in metadata.dpi) + " dpi")
    present = [name.upper() for name in ("exif", "icc", "xmp") if getattr(metadata, name)]
    if present:
        _print(f"metadata: {', '.join(present)}")


def _print(text: str) -> None:
    """Print one line: the name of a file and what it holds may have control characters."""
    print(one_line(text))
