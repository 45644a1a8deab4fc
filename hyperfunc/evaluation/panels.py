"""Pictures for people: comparisons with captions."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from hyperfunc.pixels import luma
from hyperfunc.types import HostImage

_CAPTION = 18
"""Height of a caption, pixels."""

_GAP = 4


def compare(
    images: Mapping[str, HostImage],
    scores: Mapping[str, Mapping[str, float]],
    *,
    side: int = 160,
    zoom: int = 2,
) -> HostImage:
    """Set the same detail of several images side by side, each under its name and PSNR.

    The detail is where the last but one gains most over the first, compared with the last (the
    original).

    Args:
        images: by name, all of one size.
        scores: {"psnr_y": dB} for those that have one.
        side: of the detail, pixels; smaller images are shown whole.
        zoom: integer factor of enlargement, without interpolation.
    """
    names = list(images)
    top, left, height, width = _most_gained(
        images[names[0]], images[names[-2]], images[names[-1]], side
    )
    panels = []
    for name, image in images.items():
        detail = image[top : top + height, left : left + width]
        detail = detail.repeat(zoom, axis=0).repeat(zoom, axis=1)
        caption = f"{name} {scores[name]['psnr_y']:.2f} dB" if name in scores else name
        panels += [np.concatenate([_caption(caption, detail.shape[1]), detail])]
        panels += [np.full((panels[-1].shape[0], _GAP, 3), 255, np.uint8)]
    return np.concatenate(panels[:-1], axis=1)


def mosaic(rows: Sequence[Sequence[HostImage]], *, zoom: int = 1) -> HostImage:
    """Lay images of one size out in rows and columns, with a white gap between them.

    Args:
        rows: of the same length each.
        zoom: integer factor of enlargement, without interpolation.
    """
    half = _GAP // 2
    frame = ((half, half), (half, half), (0, 0))

    def panel(image: HostImage) -> HostImage:
        image = image.repeat(zoom, axis=0).repeat(zoom, axis=1)
        return np.pad(image, frame, constant_values=255)

    return np.concatenate([np.concatenate([panel(image) for image in row], axis=1) for row in rows])


def _most_gained(
    baseline: HostImage, result: HostImage, original: HostImage, side: int
) -> tuple[int, int, int, int]:
    """Top, left, height and width of the detail with the largest drop in squared error."""
    truth = luma(original)
    gain = np.square(luma(baseline) - truth) - np.square(luma(result) - truth)
    height, width = (min(side, n) for n in gain.shape)
    total = np.pad(gain, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = (total[height:, width:] - total[:-height, width:] - total[height:, :-width]) + total[
        :-height, :-width
    ]
    top, left = np.unravel_index(np.argmax(sums), sums.shape)
    return int(top), int(left), height, width


def _caption(text: str, width: int) -> HostImage:
    strip = Image.new("RGB", (width, _CAPTION), "white")
    ImageDraw.Draw(strip).text((2, 3), text, fill="black")
    return np.asarray(strip)
