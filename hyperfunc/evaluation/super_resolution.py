"""Super-resolution by the protocol of the literature: reduce images, enlarge them, and compare.

The protocol agrees with that of published numbers: tests/evaluation/test_protocol.py measures
bicubic interpolation with it.
"""

# One image's way from the command line to its pixels: `evaluate.py` calls `commands/evaluate.py`,
# which calls `evaluate_super_resolution` here. The method is an `Upscaler`
# (`upscaling/upscaler.py`), which divides the image into tiles (`upscaling/tiles.py`). Each tile is
# encoded (`function/functional_image.py`) by a hypernetwork (`networks/hypernetworks.py`) on a
# backbone (`networks/backbones.py`), and rendered at its pixels (`function/rendering.py`).

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hyperfunc.data import ImageSource
from hyperfunc.errors import UserError
from hyperfunc.evaluation.methods import Method
from hyperfunc.evaluation.panels import compare
from hyperfunc.evaluation.tables import Table, average
from hyperfunc.images import write_image
from hyperfunc.pixels import border_for, degrade, psnr_y, ssim_y
from hyperfunc.types import HostImage

PROTOCOL = (
    "LR: MATLAB bicubic, antialiased, uint8, of the HR image cropped to a multiple of the scale "
    "(whole where the scale is not an integer); output uint8; PSNR and SSIM on BT.601 luma, not "
    "rounded; ceil(scale) border pixels cropped; mean over images"
)
"""What the numbers mean, for the JSON file."""


def evaluate_super_resolution(
    source: ImageSource,
    methods: Mapping[str, Method],
    scale: tuple[float, float],
    *,
    save_dir: Path | None = None,
) -> Table:
    """Measure how well methods enlarge the images of a dataset.

    Args:
        source: the high-resolution images.
        methods: methods by name. Saved comparisons show where the last one gains most over the
            first one.
        scale: (rows, columns), at least 1; need not be integers.
        save_dir: folder for the results of the last method and for comparisons of all methods.

    Raises:
        UserError: an image cannot be read or is too small for the scale, or ``save_dir`` cannot be
            written to.
    """
    if save_dir is not None:
        _make_folder(save_dir)
    border = border_for(scale)
    per_image: list[dict[str, Any]] = []
    seconds = dict.fromkeys(methods, 0.0)
    for name, image in zip(source.names, tqdm(source, unit="image", leave=False), strict=True):
        small, original = degrade(image, scale)
        size = (original.shape[0], original.shape[1])
        results: dict[str, HostImage] = {}
        for method, enlarge in methods.items():
            began = time.perf_counter()
            results[method] = enlarge(small, size)
            seconds[method] += time.perf_counter() - began
        scores = {
            method: {
                "psnr_y": psnr_y(original, result, border),
                "ssim_y": ssim_y(original, result, border),
            }
            for method, result in results.items()
        }
        per_image.append({"image": name, **scores})
        if save_dir is not None:
            stem = f"{name}_x{'x'.join(f'{s:g}' for s in dict.fromkeys(scale))}"
            write_image(save_dir / f"{stem}.png", list(results.values())[-1])
            comparison = compare({**results, "original": original}, scores)
            write_image(save_dir / f"{stem}_comparison.png", comparison)
    return Table(source.description, scale, PROTOCOL, average(per_image, seconds), per_image)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
