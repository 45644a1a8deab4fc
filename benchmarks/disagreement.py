"""Does the disagreement of overlapping windows tell where a rendering is wrong?

    python -m benchmarks.disagreement --data_dir=DATA

Ranks random pixels of enlarged images by the disagreement of the windows and by simpler signs,
and compares both with the true error. Also moves theta by steps of gradient descent until the
rendering, reduced, equals the input, and measures what that gains. Writes docs/results and
docs/images; cells that were measured before with the same checkpoint are kept.
"""

import dataclasses
import functools
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import tyro
from scipy.ndimage import gaussian_filter
from scipy.stats import sem, spearmanr

import hyperfunc
from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.evaluation import TITLES
from hyperfunc.files import save_json
from hyperfunc.function import FunctionalImage, render
from hyperfunc.images import to_uint8
from hyperfunc.pixels import axis_weights, degrade, imresize, luma, pixel_centres, psnr_y

SCALES = (2, 3, 4)
SIGNS = ("disagreement", "gradient", "sharp gradient", "correction", "both")
REMOVED = np.linspace(0, 0.95, 20)
"""Parts of the pixels that are removed, those first of which a sign says that they are wrong."""

STEPS = 5


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure, and draw.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        models: names of checkpoints.
        every: of Urban100 every so many images.
        crop: side of the central part of each image that is enlarged, a multiple of 12.
        refine_crop: the same for the steps on theta.
        points: random pixels of each image that are ranked.
        json: the file of results.
        figure: the picture.
    """

    data_dir: Path | None = None
    models: tuple[str, ...] = ("sr",)
    every: int = 10
    crop: int = 192
    refine_crop: int = 96
    points: int = 1000
    json: Path = Path("docs/results/disagreement.json")
    figure: Path = Path("docs/images/disagreement.png")


class Enlarged(NamedTuple):
    """One enlarged image: its function, the input, what was enlarged and the original, uint8."""

    function: hyperfunc.ContinuousImage
    small: np.ndarray
    large: np.ndarray
    original: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """The absolute error of luma, in levels of 255."""
        return np.abs(luma(self.large) - luma(self.original))


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        path = arguments.json
        result = json.loads(path.read_text()) if path.exists() else {"signs": [], "refined": []}
        parts: dict[str, tuple[Callable[..., dict[str, Any]], tuple[str, ...], int]] = {
            "signs": (measure_signs, ("urban100", "set14"), arguments.crop),
            "refined": (measure_refinement, ("set5", "set14"), arguments.refine_crop),
        }
        for part, (measure, datasets, crop) in parts.items():
            for dataset, name in itertools.product(datasets, arguments.models):
                model = hyperfunc.load_model(name)
                for scale in SCALES:
                    key = {"checkpoint": name, "fingerprint": model.fingerprint}
                    key |= {"dataset": dataset, "scale": scale, "crop": crop}
                    if any(key.items() <= cell.items() for cell in result[part]):
                        continue
                    cell = key | measure(enlarge(arguments, dataset, crop, scale, model), scale)
                    result[part].append(cell)
                    save_json(path, result)
                    print(cell, flush=True)
        draw(arguments, result["signs"])


def enlarge(
    arguments: Arguments, dataset: str, crop: int, scale: int, model: hyperfunc.Model
) -> Iterator[tuple[Enlarged, np.ndarray]]:
    """Enlarge the central parts of images; yield also random pixels of each, [n, 2]."""
    source = open_dataset(dataset, data_dir=arguments.data_dir)
    rng = np.random.default_rng(0)
    for i in range(0, len(source), arguments.every if dataset == "urban100" else 1):
        image = np.asarray(source[i])
        top, left = ((n - crop) // 2 for n in image.shape[:2])
        small, original = degrade(image[top : top + crop, left : left + crop], (scale, scale))
        function = hyperfunc.represent(small, checkpoint=model)
        large = to_uint8(np.asarray(function.render(scale=scale)))
        pixels = rng.integers(scale, crop - scale, (arguments.points, 2))
        yield Enlarged(function, small, large, original), pixels


def measure_signs(
    images: Iterator[tuple[Enlarged, np.ndarray]], scale: int
) -> dict[str, dict[str, Any]]:
    """Compare signs with the error: means over images.

    Returns:
        For each sign the rank correlation with the error, its difference from that of the gradient
        with a standard error, the remaining error after pixels are removed (relative to all), and
        by how much that is above the oracle's on average.
    """
    correlations: dict[str, list[float]] = {sign: [] for sign in SIGNS}
    curves: dict[str, list[np.ndarray]] = {sign: [] for sign in ("oracle", *SIGNS)}
    for image, pixels in images:
        rows, cols = pixels.T
        error = image.error[rows, cols]
        curves["oracle"].append(sparsify(error, error))
        points = (pixels + 0.5) / image.large.shape[:2]
        signs = {
            "disagreement": np.asarray(image.function.disagreement(points, footprint=1 / scale))
        }
        signs |= {k: v[rows, cols] for k, v in find_simple_signs(image, scale).items()}
        signs["both"] = signs["disagreement"] * signs["gradient"]
        for sign, values in signs.items():
            correlations[sign].append(float(np.asarray(spearmanr(values, error))[0]))
            curves[sign].append(sparsify(error, values))
    oracle = np.mean(curves["oracle"], axis=0)
    cell: dict[str, Any] = {
        "images": len(curves["oracle"]),
        "oracle": {"curve": np.round(oracle, 4).tolist()},
    }
    for sign in SIGNS:
        curve = np.mean(curves[sign], axis=0)
        ahead = np.subtract(correlations[sign], correlations["gradient"])
        cell[sign] = {
            "correlation": float(np.mean(correlations[sign])),
            "ahead_of_gradient": [float(ahead.mean()), float(sem(ahead))],
            "above_oracle": float((curve - oracle).mean()),
            "curve": np.round(curve, 4).tolist(),
        }
    return cell


def find_simple_signs(image: Enlarged, scale: int) -> dict[str, np.ndarray]:
    """Compute maps that need no windows, from luma.

    The gradient's magnitude as it is, and as a root mean square around each pixel (a Gaussian of
    half an input pixel), and so the difference from bicubic interpolation.
    """
    large = luma(image.large)
    dy, dx = np.gradient(large)
    square = np.square(dy) + np.square(dx)
    bicubic = luma(imresize(image.small, (large.shape[0], large.shape[1])))
    blur = functools.partial(gaussian_filter, sigma=scale / 2)
    return {
        "gradient": np.sqrt(blur(square)),
        "sharp gradient": np.sqrt(square),
        "correction": np.sqrt(blur(np.square(large - bicubic))),
    }


def sparsify(error: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Compute the mean error without the pixels of largest sign, relative to that of all."""
    kept = error[np.argsort(sign, kind="stable")]
    counts = np.round(len(kept) * (1 - REMOVED)).astype(int)
    return np.cumsum(kept)[counts - 1] / counts / kept.mean()


def measure_refinement(
    images: Iterator[tuple[Enlarged, np.ndarray]], scale: int
) -> dict[str, list[float]]:
    """Move theta towards consistency with the input.

    Returns:
        After 0 to `STEPS` steps, means over images: PSNR-Y (dB), the root mean square difference
        between the reduced rendering and the input (levels of 255); and the median processor time
        of a step (s).
    """
    psnr, distance, seconds = [], [], []
    for image, _ in images:
        function = image.function.function
        small = jnp.asarray(image.small[None], jnp.float32) / 255
        reduce = tuple(
            make_matrix(n, m)
            for n, m in zip(image.large.shape[:2], image.small.shape[:2], strict=True)
        )
        scores, distances = [], []
        for _ in range(STEPS + 1):
            start = time.process_time()
            function, large, rms = jax.block_until_ready(step(function, small, reduce))
            seconds.append(time.process_time() - start)
            large = to_uint8(np.asarray(large))
            scores.append(psnr_y(image.original, large, (scale, scale)))
            distances.append(255 * float(rms))
        psnr.append(scores)
        distance.append(distances)
    mean = functools.partial(np.mean, axis=0)
    return {
        "psnr_y": np.round(mean(psnr), 3).tolist(),
        "distance": np.round(mean(distance), 3).tolist(),
        "seconds_per_step": [float(np.median(seconds))],
    }


def make_matrix(n_in: int, n_out: int) -> jax.Array:
    """Write the protocol's reduction of one axis as a matrix [n_out, n_in]."""
    indices, weights = axis_weights(n_in, n_out)
    matrix = np.zeros((n_out, n_in), np.float32)
    np.add.at(matrix, (np.arange(n_out)[:, None], indices), weights)
    return jnp.asarray(matrix)


@jax.jit
def step(
    function: FunctionalImage, small: jax.Array, reduce: tuple[jax.Array, jax.Array]
) -> tuple[FunctionalImage, jax.Array, jax.Array]:
    """Take a step of steepest descent, as long as is best for the linearised rendering.

    Returns:
        The function after the step; before it, the rendering, and how far that is off, reduced.
    """
    rows, cols = reduce
    size = (rows.shape[1], cols.shape[1])
    leaves: list[jax.Array] = []
    function.theta.map_windows(lambda leaf: leaves.append(leaf) or leaf)

    def place(moved: list[jax.Array]) -> FunctionalImage:
        rest = iter(moved)
        theta = function.theta.map_windows(lambda _: next(rest))
        return dataclasses.replace(function, theta=theta)

    def residual(moved: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        image = render(place(moved), size)
        return jnp.einsum("yY,bYXc,xX->byxc", rows, image, cols) - small, image[0]

    difference, backwards, image = jax.vjp(residual, leaves, has_aux=True)
    (slope,) = backwards(difference)
    _, change, _ = jax.jvp(residual, (leaves,), (slope,), has_aux=True)
    length = sum(jnp.square(leaf).sum() for leaf in slope) / jnp.square(change).sum()
    moved = [leaf - length * down for leaf, down in zip(leaves, slope, strict=True)]
    return place(moved), image, jnp.sqrt(jnp.square(difference).mean())


def draw(arguments: Arguments, cells: list[dict[str, Any]]) -> None:
    """Draw the maps of one image, and the curves of Urban100 at x4."""
    plt.rcParams.update({"font.size": 8, "savefig.dpi": 130})
    chosen = [c for c in cells if (c["dataset"], c["scale"]) == ("urban100", 4)]
    count = 3 + len(chosen)
    figure, axes = plt.subplots(1, count, figsize=(2.5 * count, 2.8), layout="constrained")
    model = hyperfunc.load_model(arguments.models[0])
    image, _ = next(enlarge(arguments, "urban100", arguments.crop, 4, model))
    centres = pixel_centres((arguments.crop, arguments.crop))
    disagreement = np.asarray(image.function.disagreement(centres, footprint=1 / 4))
    for axis, (title, map_) in zip(
        axes,
        {
            f"{arguments.models[0]}, x4": image.large,
            "error": image.error,
            "disagreement": disagreement,
        }.items(),
        strict=False,
    ):
        axis.imshow(map_, cmap="magma", vmax=np.quantile(map_, 0.99))
        axis.set_title(title)
        axis.axis("off")
    for axis, cell in zip(axes[3:], chosen, strict=True):
        for sign in ("disagreement", "gradient", "both", "oracle"):
            axis.plot(100 * REMOVED, cell[sign]["curve"], label=sign)
        axis.set(
            title=f"{cell['checkpoint']}, {TITLES['urban100']} x4",
            xlabel="pixels removed (%)",
            ylabel="remaining error, relative",
        )
        axis.legend()
    figure.savefig(arguments.figure)


if __name__ == "__main__":
    main()
