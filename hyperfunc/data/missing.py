"""Missing pixels: which ones, drawn at random."""

import functools
import string
from typing import Literal

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw, ImageFont

from hyperfunc.types import Size

Gaps = Literal["pixels", "strokes", "rectangles", "text"]
"""What is missing: single pixels, or all pixels under what was drawn over the image."""

SHARE_OF_DRAWING = (0.05, 0.3)
"""Range of the share of the pixels under strokes, rectangles or text."""


def draw_missing(
    size: Size, gaps: Gaps, share: tuple[float, float], rng: np.random.Generator
) -> Bool[np.ndarray, "h w"]:
    """Draw which pixels are missing.

    Args:
        size: of the image.
        gaps: what is missing.
        share: range of the share of single pixels; of the others it is `SHARE_OF_DRAWING`.
        rng: the source of random numbers.
    """
    if gaps == "pixels":
        return rng.uniform(size=size) < rng.uniform(*share)
    picture = Image.new("1", (size[1], size[0]))
    canvas, wanted = ImageDraw.Draw(picture), rng.uniform(*SHARE_OF_DRAWING)
    draw = {"strokes": _draw_stroke, "rectangles": _draw_rectangle, "text": _draw_word}[gaps]
    is_missing = np.zeros(size, bool)
    while is_missing.mean() < wanted:
        draw(canvas, rng.uniform((0, 0), picture.size), rng)
        is_missing = np.asarray(picture)
    return is_missing


def _draw_stroke(canvas: ImageDraw.ImageDraw, start: np.ndarray, rng: np.random.Generator) -> None:
    points = start + np.cumsum(rng.uniform(-24, 24, size=(4, 2)), axis=0)
    width = int(rng.integers(2, 8))
    canvas.line([(x, y) for x, y in points.tolist()], fill=1, width=width, joint="curve")


def _draw_rectangle(
    canvas: ImageDraw.ImageDraw, start: np.ndarray, rng: np.random.Generator
) -> None:
    end = start + rng.integers(3, 18, size=2)
    canvas.rectangle((*start.round().tolist(), *end.round().tolist()), fill=1)


def _draw_word(canvas: ImageDraw.ImageDraw, start: np.ndarray, rng: np.random.Generator) -> None:
    letters = "".join(rng.choice(list(string.ascii_letters + string.digits), size=6))
    font = _load_font(int(rng.integers(10, 28)))
    canvas.text((start[0] - 20, start[1] - 10), letters, fill=1, font=font)


@functools.cache
def _load_font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
