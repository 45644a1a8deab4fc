"""Images side by side, for people to look at: comparisons with captions, and mosaics."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from hyperfunc.pixels import luma
from hyperfunc.types import HostImage

CAPTION_HEIGHT = 18
"""In pixels."""

GAP = 4
"""White pixels between two images."""

ZOOM = 2
"""By how much a detail is enlarged, by repeating its pixels."""


def compare(
    images: Mapping[str, HostImage], psnr: Mapping[str, float], *, side: int = 160
) -> HostImage:
    """Put the same detail of several images side by side, with names and PSNR (dB) as captions.

    The images are two or more results, and the original last, all of one size. The detail has
    ``side`` pixels, and lies where the last result gains most over the first one, in squared error
    of luma.
    """
    names = list(images)
    top, left, height, width = _find_largest_gain(
        images[names[0]], images[names[-2]], images[names[-1]], side
    )
    panels = []
    for name, image in images.items():
        detail = image[top : top + height, left : left + width]
        detail = detail.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
        caption = f"{name} {psnr[name]:.2f} dB" if name in psnr else name
        strip = Image.new("RGB", (detail.shape[1], CAPTION_HEIGHT), "white")
        ImageDraw.Draw(strip).text((2, 3), caption, fill="black")
        panel = np.concatenate([np.asarray(strip), detail])
        panels += [panel, np.full((panel.shape[0], GAP, 3), 255, np.uint8)]
    return np.concatenate(panels[:-1], axis=1)


def mosaic(rows: Sequence[Sequence[HostImage]]) -> HostImage:
    """Arrange images of one size in rows of the same length, with a white gap between them."""
    half = GAP // 2
    frame = ((0, 0), (0, 0), (half, half), (half, half), (0, 0))
    panels = np.pad(np.asarray(rows), frame, constant_values=255).swapaxes(1, 2)
    height, width = len(rows) * panels.shape[1], len(rows[0]) * panels.shape[3]
    return panels.reshape(height, width, 3)


def _find_largest_gain(
    baseline: HostImage, result: HostImage, original: HostImage, side: int
) -> tuple[int, int, int, int]:
    """Find the square (top, left, height, width) with the largest gain in squared error."""
    truth = luma(original)
    gain = np.square(luma(baseline) - truth) - np.square(luma(result) - truth)
    height, width = (min(side, n) for n in gain.shape)
    # Sums over all squares, from an integral image.
    total = np.pad(gain, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    strips = total[height:] - total[:-height]
    sums = strips[:, width:] - strips[:, :-width]
    top, left = np.unravel_index(np.argmax(sums), sums.shape)
    return int(top), int(left), height, width
