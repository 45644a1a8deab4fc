"""Regenerate the table of docs/format.md: what it costs to store a function, and what it loses.

python -m benchmarks.function_file --data_dir=DATA

Each way of storing theta is written to a real file and read back. PSNR compares its x3 rendering
with that of the function in memory, both clipped to [0, 1] and not rounded.
"""

import dataclasses
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data
import tyro

from benchmarks.pages import replace_part
from hyperfunc.commands import report_errors
from hyperfunc.experiment import load_model
from hyperfunc.export import load_function, make_page, save_function
from hyperfunc.function import FunctionalImage, encode, render_phases
from hyperfunc.images import read_image
from hyperfunc.networks import PlainTheta
from hyperfunc.values import to_unit_range

SIDE = 256
"""Of the middle of each image, pixels: the cost per pixel does not depend on it."""

WAYS = {
    "features, float32 (`None`)": (True, None),
    '**features, int8 (`"int8"`, the default)**': (True, "int8"),
    'features, float16 (`"float16"`)': (True, "float16"),
    "coefficients, float32": (False, None),
    "coefficients, float16": (False, "float16"),
    "coefficients, int8": (False, "int8"),
}
"""By name: whether theta stays factored, and its quantisation."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure the ways of storing a function.

    Attributes:
        data_dir: where the test sets are; without it only scikit-image's pictures are measured.
        workdir: a training run, or the name of a bundled checkpoint.
        out: the file whose table between the markers is replaced.
    """

    data_dir: Path | None = None
    workdir: str = "sr"
    out: Path = Path("docs/format.md")


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        model = load_model(arguments.workdir)
        network = model.hypernetwork
        to_function = jax.jit(lambda v, x: encode(network, v, x)[0])
        functions = {
            name: to_function(model.variables, jnp.asarray(to_unit_range(_middle(image)))[None])
            for name, image in _images(arguments.data_dir).items()
        }
        rows = _measure(functions)
        replace_part(arguments.out, "sizes", rows)
        print(rows)


def _images(data_dir: Path | None) -> dict[str, np.ndarray]:
    images = {"astronaut": skimage.data.astronaut(), "coffee": skimage.data.coffee()}
    if data_dir is not None:
        for name in ("set5/butterfly", "set14/zebra", "b100/101085", "urban100/img_001"):
            (path,) = (data_dir / "benchmarks").glob(f"{name}*.webp")
            images[name] = read_image(path)
    return images


def _middle(image: np.ndarray) -> np.ndarray:
    height, width = (min(SIDE, n) for n in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _measure(functions: dict[str, FunctionalImage]) -> str:
    draw = jax.jit(lambda function: jnp.clip(render_phases(function, 3), 0, 1))
    rows = [
        "| theta as | bytes per pixel | " + " | ".join(functions) + " | largest error |",
        "|---|---|" + "---|" * len(functions) + "---|",
    ]
    references = {name: np.asarray(draw(function)) for name, function in functions.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "function.hfn"
        for way, (is_factored, quantize) in WAYS.items():
            sizes, cells, errors = [], [], []
            for name, function in functions.items():
                theta = function.theta if is_factored else PlainTheta(function.theta.parameters)
                stored = dataclasses.replace(function, theta=theta)
                save_function(path, stored, quantize=quantize)  # pyright: ignore
                sizes.append(path.stat().st_size / np.prod(function.size))
                difference = np.asarray(draw(load_function(path))) - references[name]
                errors.append(np.abs(difference).max() * 255)
                psnr = -10 * np.log10(max(np.mean(np.square(difference)), 1e-15))
                cells.append(f"{psnr:.1f}" if psnr < 149 else "exact")
            error = f"{max(errors):.2f} / 255"
            rows.append(f"| {way} | {np.mean(sizes):.0f} | {' | '.join(cells)} | {error} |")
        pages = [len(make_page(f)) / np.prod(f.size) for f in functions.values()]
    low, high = min(pages), max(pages)
    return "\n".join(rows) + f"\n\nAn exported page takes {low:.0f} to {high:.0f} bytes per pixel."


if __name__ == "__main__":
    main()
