"""Evaluators: a dataset and methods to a table.

The protocol is the literature's, and calibrated against it: published networks' numbers come out
(tests/reference/test_protocol.py).
"""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hyperfunc.data import ImageSource
from hyperfunc.errors import UserError
from hyperfunc.evaluation.methods import Method
from hyperfunc.evaluation.panels import compare
from hyperfunc.files import save_json
from hyperfunc.images import write_image
from hyperfunc.pixels import border_for, degrade, mean_psnr, psnr_y, ssim_y

PROTOCOL = (
    "LR: MATLAB bicubic, antialiased, uint8, of the HR image cropped to a multiple of the scale "
    "(whole where the scale is not an integer); output uint8; PSNR and SSIM on BT.601 luma, not "
    "rounded; ceil(scale) border pixels cropped; mean over images"
)


@dataclasses.dataclass(frozen=True)
class Row:
    """Means over a dataset."""

    method: str
    psnr_y: float
    """In decibels."""
    ssim_y: float
    seconds: float
    """Of all images together, compilation included."""
    images: int


@dataclasses.dataclass(frozen=True)
class Table:
    """The result of a super-resolution evaluation; the fields are those of the JSON file."""

    dataset: str
    scale: tuple[float, float]
    protocol: str
    rows: list[Row]
    per_image: list[dict[str, Any]]

    def __str__(self) -> str:
        """A table for a terminal."""
        scale = " x ".join(f"{s:g}" for s in dict.fromkeys(self.scale))
        lines = [f"{self.dataset}, scale {scale}, {self.rows[0].images} images"]
        lines += [f"{'method':<12}{'PSNR-Y (dB)':>12}{'SSIM-Y':>10}{'seconds':>10}"]
        lines += [
            f"{row.method:<12}{row.psnr_y:>12.2f}{row.ssim_y:>10.4f}{row.seconds:>10.1f}"
            for row in self.rows
        ]
        return "\n".join(lines)

    def save(self, path: Path, **about: Any) -> None:
        """Write as JSON, with ``about``; a number that JSON lacks (infinity) is null.

        Raises:
            UserError: the place cannot be written to.
        """
        save_json(path, {**dataclasses.asdict(self), **about})


def evaluate_super_resolution(
    source: ImageSource,
    methods: Mapping[str, Method],
    scale: tuple[float, float],
    *,
    save_dir: Path | None = None,
) -> Table:
    """Reduce every image, enlarge it with every method, and compare.

    Args:
        source: the high-resolution images.
        methods: by name; the first is the baseline of the pictures, the last is what they show.
        scale: (rows, columns), at least 1, not necessarily integers.
        save_dir: where results and comparisons go, if given.

    Raises:
        UserError: an image cannot be read or is too small for the scale, or ``save_dir`` cannot be
            written to.
    """
    if save_dir is not None:
        try:
            save_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{save_dir}: cannot be written ({error.strerror or error})") from error
    per_image: list[dict[str, Any]] = []
    seconds = dict.fromkeys(methods, 0.0)
    for name, hr in zip(source.names, tqdm(source, unit="image", leave=False), strict=True):
        lr, hr = degrade(hr, scale)
        results = {}
        for method, enlarge in methods.items():
            began = time.perf_counter()
            results[method] = enlarge(lr, (hr.shape[0], hr.shape[1]))
            seconds[method] += time.perf_counter() - began
        border = border_for(scale)
        scores = {
            method: {"psnr_y": psnr_y(hr, sr, border), "ssim_y": ssim_y(hr, sr, border)}
            for method, sr in results.items()
        }
        per_image.append({"image": name, **scores})
        if save_dir is not None:
            stem = f"{name}_x{'x'.join(f'{s:g}' for s in dict.fromkeys(scale))}"
            write_image(save_dir / f"{stem}.png", list(results.values())[-1])
            write_image(
                save_dir / f"{stem}_comparison.png",
                compare({**results, "original": hr}, scores),
            )
    rows = [
        Row(
            method,
            mean_psnr([image[method]["psnr_y"] for image in per_image]),
            float(np.mean([image[method]["ssim_y"] for image in per_image])),
            seconds[method],
            len(per_image),
        )
        for method in methods
    ]
    return Table(source.description, scale, PROTOCOL, rows, per_image)
