"""Super-resolution by the protocol of the literature: reduce images, enlarge them, and compare.

The protocol agrees with that of published numbers: tests/evaluation/test_protocol.py measures
bicubic interpolation with it.
"""

# One image's way from the command line to its pixels: `evaluate.py` calls `commands/evaluate.py`,
# which calls `evaluate_super_resolution` here. The method is an `Upscaler`
# (`upscaling/upscaler.py`), which divides the image into tiles (`upscaling/tiles.py`). Each tile is
# encoded (`function/functional_image.py`) by a hypernetwork (`networks/hypernetworks.py`) on a
# backbone (`networks/backbones.py`), and rendered at its pixels (`function/rendering.py`).

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hyperfunc.data import ImageSource
from hyperfunc.evaluation.methods import Method
from hyperfunc.evaluation.panels import compare
from hyperfunc.images import write_image
from hyperfunc.pixels import border_for, degrade, mean_psnr, psnr_y, ssim_y
from hyperfunc.types import HostImage

PROTOCOL = (
    "LR: MATLAB bicubic, antialiased, uint8, of the HR image cropped to a multiple of the scale "
    "(whole where the scale is not an integer); output uint8; PSNR and SSIM on BT.601 luma, not "
    "rounded; ceil(scale) border pixels cropped; mean over images"
)
"""What the numbers mean, for the JSON file."""


@dataclasses.dataclass(frozen=True)
class Row:
    """The mean PSNR (dB) and SSIM of luma of one method over a dataset, and the time of all images.

    The time includes compilation.
    """

    method: str
    psnr_y: float
    ssim_y: float
    seconds: float
    images: int


@dataclasses.dataclass(frozen=True)
class Table:
    """The result of a super-resolution evaluation; its fields are those of the JSON file."""

    dataset: str
    scale: tuple[float, float]
    protocol: str
    rows: list[Row]
    per_image: list[dict[str, Any]]
    """For each image {"image": name, METHOD: {"psnr_y": dB, "ssim_y": SSIM}, ...}."""

    def __str__(self) -> str:
        scale = " x ".join(f"{s:g}" for s in dict.fromkeys(self.scale))
        lines = [f"{self.dataset}, scale {scale}, {self.rows[0].images} images"]
        lines += [f"{'method':<12}{'PSNR-Y (dB)':>12}{'SSIM-Y':>10}{'seconds':>10}"]
        lines += [
            f"{row.method:<12}{row.psnr_y:>12.2f}{row.ssim_y:>10.4f}{row.seconds:>10.1f}"
            for row in self.rows
        ]
        return "\n".join(lines)


def evaluate_super_resolution(
    source: ImageSource,
    methods: Mapping[str, Method],
    scale: tuple[float, float],
    *,
    save_dir: Path | None = None,
) -> Table:
    """Measure how well methods enlarge the images of a dataset by (rows, columns), at least 1.

    ``save_dir`` gets the results of the last method, and comparisons, which show where it gains
    most over the first one.

    Raises:
        UserError: an image cannot be read or is too small for the scale, or ``save_dir`` cannot be
            written to.
    """
    border = border_for(scale)
    per_image: list[dict[str, Any]] = []
    seconds = dict.fromkeys(methods, 0.0)
    for name, image in zip(source.names, tqdm(source, unit="image", leave=False), strict=True):
        small, original = degrade(image, scale)
        size = (original.shape[0], original.shape[1])
        results: dict[str, HostImage] = {}
        scores: dict[str, dict[str, float]] = {}
        for method, enlarge in methods.items():
            began = time.perf_counter()
            result = results[method] = enlarge(small, size)
            seconds[method] += time.perf_counter() - began
            scores[method] = {
                "psnr_y": psnr_y(original, result, border),
                "ssim_y": ssim_y(original, result, border),
            }
        per_image.append({"image": name, **scores})
        if save_dir is not None:
            stem = f"{name}_x{'x'.join(f'{s:g}' for s in dict.fromkeys(scale))}"
            write_image(save_dir / f"{stem}.png", list(results.values())[-1])
            psnr = {method: scores[method]["psnr_y"] for method in methods}
            comparison = compare({**results, "original": original}, psnr)
            write_image(save_dir / f"{stem}_comparison.png", comparison)
    return Table(source.description, scale, PROTOCOL, _average(per_image, seconds), per_image)


def _average(per_image: Sequence[dict[str, Any]], seconds: Mapping[str, float]) -> list[Row]:
    return [
        Row(
            method,
            mean_psnr([image[method]["psnr_y"] for image in per_image]),
            float(np.mean([image[method]["ssim_y"] for image in per_image])),
            total,
            len(per_image),
        )
        for method, total in seconds.items()
    ]
