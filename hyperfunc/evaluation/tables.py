"""The table of a super-resolution evaluation: for a terminal, and as a JSON file."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hyperfunc.files import save_json
from hyperfunc.pixels import mean_psnr


@dataclasses.dataclass(frozen=True)
class Row:
    """The means of one method over a dataset.

    Attributes:
        method: its name.
        psnr_y: mean PSNR of luma in decibels, see `hyperfunc.pixels.metrics.mean_psnr`.
        ssim_y: mean SSIM of luma.
        seconds: time for all images together, compilation included.
        images: number of images.
    """

    method: str
    psnr_y: float
    ssim_y: float
    seconds: float
    images: int


@dataclasses.dataclass(frozen=True)
class Table:
    """The result of a super-resolution evaluation; its fields are those of the JSON file.

    Attributes:
        dataset: its name.
        scale: (rows, columns), output pixels per input pixel.
        protocol: how the numbers were measured, in words.
        rows: a row for each method.
        per_image: for each image {"image": name, METHOD: {"psnr_y": dB, "ssim_y": SSIM}, ...}.
    """

    dataset: str
    scale: tuple[float, float]
    protocol: str
    rows: list[Row]
    per_image: list[dict[str, Any]]

    def __str__(self) -> str:
        """Format the table for a terminal."""
        scale = " x ".join(f"{s:g}" for s in dict.fromkeys(self.scale))
        lines = [f"{self.dataset}, scale {scale}, {self.rows[0].images} images"]
        lines += [f"{'method':<12}{'PSNR-Y (dB)':>12}{'SSIM-Y':>10}{'seconds':>10}"]
        lines += [
            f"{row.method:<12}{row.psnr_y:>12.2f}{row.ssim_y:>10.4f}{row.seconds:>10.1f}"
            for row in self.rows
        ]
        return "\n".join(lines)

    def save(self, path: Path, **more: Any) -> None:
        """Write the table and more fields as JSON; an infinite number becomes null.

        Raises:
            UserError: the file cannot be written.
        """
        save_json(path, {**dataclasses.asdict(self), **more})


def average(per_image: Sequence[dict[str, Any]], seconds: Mapping[str, float]) -> list[Row]:
    """Average the scores of each method over the images.

    Args:
        per_image: see `Table`.
        seconds: time for all images, for each method; the order of the rows.
    """
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
