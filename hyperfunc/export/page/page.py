"""One web page that evaluates a functional image in the browser, without a server.

`export_html` writes the page: ``parts/page.html`` with the style, the shaders and the scripts
beside it, and the function in 8 bits, deflated and in base64. When the page opens, the graphics
card multiplies the features by the kernel into half-float coefficients. Then, for every pixel of
the screen, it evaluates the four target networks whose windows cover the pixel. The result differs
from that of `hyperfunc.function.render` and `hyperfunc.function.sample` by at most two levels of
255.
"""

import base64
import html
import json
import math
import os
import zlib
from typing import cast

from hyperfunc.errors import UserError
from hyperfunc.export.packing import without_padding
from hyperfunc.export.page.encode import bytes_per_pixel, encode_function
from hyperfunc.export.page.template import fill_in
from hyperfunc.files import replacing
from hyperfunc.function import FunctionalImage
from hyperfunc.networks import FourierField, Target
from hyperfunc.pixels import WindowLayout
from hyperfunc.types import Size

PARTS = "page/parts"
"""The folder of the page's parts."""

MAX_PAGE_BYTES = 64_000_000
"""Size of the page: browsers are slow to open larger ones."""

MAX_TEXTURE_BYTES = 256 << 20
"""Coefficients on the graphics card: what phones and integrated graphics cards can spare."""

MAX_SIDE = 4096
"""Pixels: the largest texture that practically every WebGL 2 device supports."""

MAX_FREQUENCIES = 64
"""So many fit into the uniforms of every WebGL 2 device, with room to spare."""


def export_html(
    function: FunctionalImage, path: str | os.PathLike[str], *, title: str | None = None
) -> None:
    """Write a page in which one zooms, pans and rotates the function and compares it with bicubic.

    Args:
        function: of one image, with a `FourierField` of three channels for each pixel (the ``sr``
            preset). The page shows its base image in 8 bits.
        path: of the page, by convention ``.html``. The page is written to a temporary file beside
            it, which is then renamed.
        title: a heading, shown as plain text.

    Raises:
        UserError: the function is of another kind, or too large for a page.
    """
    page = make_page(function, title=title)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(page)


def make_page(function: FunctionalImage, *, title: str | None = None) -> bytes:
    """Return the page that `export_html` writes, as UTF-8."""
    function = without_padding(function)
    check_page(function.target, function.layout, function.size, function.theta.batch)
    payload, config = encode_function(function)
    values = {
        "config": json.dumps(config).replace("<", "\\u003c"),
        "data": base64.b64encode(zlib.compress(payload, 6)).decode("ascii"),
        "title": html.escape(title or "Functional image"),
        "message": "Loading the image …",
        "tools": "",
        "menu": "",
        "inputs": "",
    }
    page = fill_in("%%page.html%%", values, PARTS)
    encoded = page.encode("utf-8", "replace")  # A file's name, as a title, may not be valid UTF-8.
    if len(encoded) > MAX_PAGE_BYTES:
        height, width = function.size
        raise UserError(
            f"the page of {width} x {height} pixels would take {len(encoded) / 1e6:.0f} MB, more "
            f"than the limit of {MAX_PAGE_BYTES / 1e6:.0f} MB: crop the image or make it smaller; "
            "`hyperfunc upscale` renders any size"
        )
    return encoded


def check_page(target: Target, layout: WindowLayout, size: Size, batch: int = 1) -> None:
    """Check that a page can show the functions of a model, before one is computed.

    Raises:
        UserError: the page cannot show such functions, or the image is too large for a page.
    """
    if not target.is_fourier_series or not layout.is_per_pixel:
        raise UserError(
            "the page shows a FourierField for each pixel (the sr preset), but this function has a "
            f"{type(target).__name__} on windows of {layout.size} pixels: render images instead"
        )
    target = cast(FourierField, target)
    if batch != 1 or target.channels != 3 or target.frequencies > MAX_FREQUENCIES:
        raise UserError(
            f"the page shows 1 image of 3 channels with at most {MAX_FREQUENCIES} frequencies, but "
            f"images, channels and frequencies are {batch}, {target.channels} and "
            f"{target.frequencies}: export one RGB image"
        )
    height, width = size
    if fit_page(target, size) != size:
        raise UserError(
            f"{width} x {height} pixels are too large for a page, which can show {MAX_SIDE} pixels "
            f"on a side and {_most_pixels(target) / 1e6:.2f} million in total: crop the image or "
            "make it smaller; `hyperfunc upscale` renders any size"
        )


def fit_page(target: Target, size: Size) -> Size:
    """Return the size, or the largest one of that aspect which a page can show."""
    (height, width), most = size, _most_pixels(target)
    if max(height, width) <= MAX_SIDE and height * width <= most:
        return size
    scale = min(MAX_SIDE / max(height, width), math.sqrt(most / (height * width)))
    return max(1, int(height * scale)), max(1, int(width * scale))


def _most_pixels(target: Target) -> int:
    return MAX_TEXTURE_BYTES // bytes_per_pixel(cast(FourierField, target))
