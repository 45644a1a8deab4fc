"""One web page that evaluates a functional image in the browser, with no server.

`export_html` writes the page: ``template.html`` (markup, style, shaders, script) with the function
in it, in 8 bits, deflated and in base64. The page multiplies features by the kernel once, on the
graphics card, into half-float coefficients, and then evaluates the four target networks that cover
a screen pixel for every pixel that is looked at. What it shows is what `functional_image.render`
and `functional_image.sample` compute, to within two levels of 255.
"""

import base64
import html
import json
import math
import os
import zlib
from importlib.resources import files
from typing import Any

import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.export.hfn import quantize_int8, without_padding
from hyperfunc.files import replacing
from hyperfunc.function import FunctionalImage
from hyperfunc.images import to_uint8
from hyperfunc.networks import FactoredTheta, FourierField, Target
from hyperfunc.pixels import WindowLayout
from hyperfunc.types import Size

MAX_PAGE = 64_000_000
"""Bytes of the page: beyond, browsers become slow to open it."""

MAX_TEXTURES = 256 << 20
"""Bytes of coefficients on the graphics card: what phones and integrated ones can spare."""

MAX_SIDE = 4096
"""Pixels: the largest texture that WebGL 2 devices can be counted on to have."""

MAX_FREQUENCIES = 64
"""What fits the uniforms of every device, with room to spare."""

_HALVES = 8
"""Half floats in a texel of coefficients (RGBA32UI)."""


def export_html(
    function: FunctionalImage, path: str | os.PathLike[str], *, title: str | None = None
) -> None:
    """Write a page in which one zooms, pans and rotates into the function, beside bicubic.

    Args:
        function: of one image, with a `FourierField` of three channels for each pixel (the ``sr``
            preset). Its base image is shown in 8 bits.
        path: of the page, by convention ``.html``; written beside and then renamed.
        title: a heading, shown as it is.

    Raises:
        UserError: the function is of another kind, or too large for a page.
    """
    page = make_page(function, title=title)
    with replacing(path) as beside, beside.open("wb") as file:
        file.write(page)


def make_page(function: FunctionalImage, *, title: str | None = None) -> bytes:
    """The page of `export_html`, as UTF-8."""
    function = without_padding(function)
    check_page(function.target, function.layout, function.size, _batch(function))
    payload, config = _pack(function)
    data = base64.b64encode(zlib.compress(payload, 6)).decode("ascii")
    page = (files("hyperfunc.export.page") / "template.html").read_text("utf-8")
    page = page.replace("%%config%%", json.dumps(config).replace("<", "\\u003c"))
    page = page.replace("%%data%%", data)
    # Last, so that a title cannot name the other two.
    page = page.replace("%%title%%", html.escape(title or "Functional image"))
    encoded = page.encode("utf-8", "replace")  # A title may be a file's name, which is any bytes.
    if len(encoded) > MAX_PAGE:
        height, width = function.size
        raise UserError(
            f"a page of {width} x {height} pixels would have {len(encoded) / 1e6:.0f} MB, "
            f"{MAX_PAGE / 1e6:.0f} are the most: crop the image or make it smaller; "
            "`hyperfunc upscale` renders any size"
        )
    return encoded


def check_page(target: Target, layout: WindowLayout, size: Size, batch: int = 1) -> None:
    """Check that functions of a model can be shown in a page, before one is made.

    Args:
        target: the target networks.
        layout: the windows that they cover.
        size: (height, width) of the image, pixels.
        batch: of how many images.

    Raises:
        UserError: they are of another kind than `export_html` shows, or too many.
    """
    if not isinstance(target, FourierField) or not layout.is_per_pixel:
        raise UserError(
            "the page evaluates a FourierField for each pixel only (the sr preset), and this is a "
            f"{type(target).__name__} on windows of {layout.size} pixels: render images instead"
        )
    if batch != 1 or target.channels != 3 or target.frequencies > MAX_FREQUENCIES:
        raise UserError(
            f"the page shows one image of 3 channels and up to {MAX_FREQUENCIES} frequencies, and "
            f"this is {batch} of {target.channels} and {target.frequencies}: export one RGB image"
        )
    height, width = size
    textures = height * width * _layers(target) * _HALVES * 2
    if max(height, width) > MAX_SIDE or textures > MAX_TEXTURES:
        most = MAX_TEXTURES // (_layers(target) * _HALVES * 2)
        raise UserError(
            f"{width} x {height} pixels are too large for a page: {MAX_SIDE} on a side and "
            f"{most / 1e6:.2f} million in all are the most; crop the image or make it smaller; "
            "`hyperfunc upscale` renders any size"
        )


def _batch(function: FunctionalImage) -> int:
    theta = function.theta
    leaf = theta.features if isinstance(theta, FactoredTheta) else theta["coefficients"]
    return leaf.shape[0]


def _layers(target: FourierField) -> int:
    """Texels of a cell: three for every four frequencies (RGB pairs), one for the constant."""
    return 3 * -(-target.frequencies // 4) + 1


def _pack(function: FunctionalImage) -> tuple[bytes, dict[str, Any]]:
    """The arrays as the page's textures want them, one after the other, and their sizes.

    Kernel, float32 [layer, features / 4, 8, 4]; scales, float32 [h, features]; levels of the
    features, int8 [features / 4, h, w, 4]; base, uint8 [h, w, 3].
    """
    target, theta = function.target, function.theta
    assert isinstance(target, FourierField)
    height, width = function.size
    if isinstance(theta, FactoredTheta):
        features, kernel = np.asarray(theta.features), np.asarray(theta.kernel)
    else:
        coefficients = np.asarray(theta["coefficients"])
        features = coefficients.reshape(*coefficients.shape[:3], -1)
        kernel = np.eye(features.shape[-1], dtype=np.float32)
        kernel = kernel.reshape(-1, *coefficients.shape[3:])
    if not (np.isfinite(features).all() and np.isfinite(kernel).all()):
        raise UserError("the function holds values that are not finite: the model is damaged")
    levels, scales = quantize_int8(features)
    scales = np.broadcast_to(scales[0, :, 0], (height, features.shape[-1]))

    # Slow waves first: the page leaves out the tail where the footprint has damped it.
    omega = np.asarray(function.shared["frequencies"], np.float64)
    order = np.argsort((omega**2).sum(axis=1))
    f, layers = target.frequencies, _layers(target)
    outputs = np.zeros((kernel.shape[0], layers * _HALVES), np.float32)
    waves = np.stack([kernel[:, :f], kernel[:, f : 2 * f]], axis=2)[:, order]  # [.., f, re im, c]
    outputs[:, : 6 * f] = waves.reshape(kernel.shape[0], -1)
    outputs[:, -_HALVES : -_HALVES + 3] = kernel[:, 2 * f]
    waves_padded = np.zeros((4 * -(-f // 4), 2))
    waves_padded[:f] = omega[order, ::-1]  # (x, y)

    padding = -levels.shape[-1] % 4
    levels = np.pad(levels[0], ((0, 0), (0, 0), (0, padding)))
    levels = levels.reshape(height, width, -1, 4).transpose(2, 0, 1, 3)
    scales = np.pad(scales, ((0, 0), (0, padding)))
    outputs = np.pad(outputs, ((0, padding), (0, 0)))
    outputs = outputs.reshape(-1, 4, layers, _HALVES).transpose(2, 0, 3, 1)
    payload = outputs.astype("<f4").tobytes() + scales.astype("<f4").tobytes() + levels.tobytes()
    if function.base is not None:
        payload += to_uint8(np.asarray(function.base)[0]).tobytes()
    with np.errstate(over="ignore"):
        kappa = float(np.exp(np.asarray(function.shared["log_kappa"], np.float64)))
    if not math.isfinite(kappa):
        raise UserError(f"the function's kappa is {kappa}: the model is damaged")
    config = {
        "width": width,
        "height": height,
        "quads": levels.shape[0],
        "layers": layers,
        "waves": waves_padded.tolist(),
        "kappa": kappa,
        "frequencies": f,
        "base": function.base is not None,
    }
    return payload, config
