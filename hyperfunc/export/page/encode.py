"""The arrays of a functional image, packed as the textures of the page want them."""

import math
from typing import Any, cast

import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.export.packing import quantize_int8
from hyperfunc.function import FunctionalImage
from hyperfunc.images import to_uint8
from hyperfunc.networks import FourierField

_HALVES = 8
"""Half floats in a texel of coefficients (RGBA32UI)."""


def bytes_per_pixel(target: FourierField) -> int:
    """Return the memory that the coefficients of an input pixel take on the graphics card."""
    return _count_layers(target) * _HALVES * 2


def encode_function(function: FunctionalImage) -> tuple[bytes, dict[str, Any]]:
    """Pack the arrays of a function that `check_page` accepts, and make the page's configuration.

    The arrays come one after the other, little-endian: the kernel (see `encode_head`); the scales
    of the features, float32 [h, features]; their levels, int8 [features / 4, h, w, 4]; the base,
    uint8 [h, w, 3], if there is one. The features are padded to a multiple of four.
    """
    kernel, config = encode_head(function)
    height, width = function.size
    features = np.asarray(function.theta.factors()[0])
    if not np.isfinite(features).all():
        raise UserError("the function holds values that are not finite: the model is damaged")
    levels, scales = _pack_features(features[0])
    payload = kernel + scales.tobytes() + levels.tobytes()
    if function.base is not None:
        payload += to_uint8(np.asarray(function.base)[0]).tobytes()
    return payload, {**config, "width": width, "height": height}


def encode_head(function: FunctionalImage) -> tuple[bytes, dict[str, Any]]:
    """Pack what all functions of a model share, and make that part of the configuration.

    It is the kernel from features to coefficients, float32 [layers, features / 4, 8, 4].
    """
    target = cast(FourierField, function.target)
    kernel = np.asarray(function.theta.factors()[1])
    if not np.isfinite(kernel).all():
        raise UserError("the function holds values that are not finite: the model is damaged")
    with np.errstate(over="ignore"):
        kappa = float(np.exp(np.asarray(function.shared["log_kappa"], np.float64)))
    if not math.isfinite(kappa):
        raise UserError(f"the function's kappa is {kappa}: the model is damaged")

    # The waves are sorted by frequency: the page skips those that a large footprint has damped.
    omega = np.asarray(function.shared["frequencies"], np.float64)
    order = np.argsort((omega**2).sum(axis=1))
    waves = np.zeros((4 * -(-target.frequencies // 4), 2))
    waves[: target.frequencies] = omega[order, ::-1]  # (x, y)
    config = {
        "quads": -(-kernel.shape[0] // 4),
        "layers": _count_layers(target),
        "waves": waves.tolist(),
        "kappa": kappa,
        "frequencies": target.frequencies,
        "base": function.base is not None,
    }
    return _pack_kernel(kernel, target, order).tobytes(), config


def _count_layers(target: FourierField) -> int:
    """Count the texels of a cell: three for every four frequencies, and one for the constant."""
    return 3 * -(-target.frequencies // 4) + 1


def _pack_features(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantise features [h, w, f] to levels, int8 [f / 4, h, w, 4], and scales, float32 [h, f]."""
    height, width, count = features.shape
    levels, scales = quantize_int8(features[None])
    scales = np.broadcast_to(scales[0, :, 0], (height, count))
    padding = -count % 4
    levels = np.pad(levels[0], ((0, 0), (0, 0), (0, padding)))
    levels = levels.reshape(height, width, -1, 4).transpose(2, 0, 1, 3)
    return levels, np.pad(scales, ((0, 0), (0, padding))).astype("<f4")


def _pack_kernel(kernel: np.ndarray, target: FourierField, order: np.ndarray) -> np.ndarray:
    """Pack a kernel [f, d, c] into the order of a cell's texels, float32 [layers, f / 4, 8, 4].

    A cell holds, for each wave, the real and then the imaginary part of its three channels; its
    last texel holds the constant.
    """
    f, layers = target.frequencies, _count_layers(target)
    outputs = np.zeros((kernel.shape[0], layers * _HALVES), np.float32)
    waves = np.stack([kernel[:, :f], kernel[:, f : 2 * f]], axis=2)[:, order]  # [.., f, re im, c]
    outputs[:, : 6 * f] = waves.reshape(kernel.shape[0], -1)
    outputs[:, -_HALVES : -_HALVES + 3] = kernel[:, 2 * f]
    outputs = np.pad(outputs, ((0, -kernel.shape[0] % 4), (0, 0)))
    return outputs.reshape(-1, 4, layers, _HALVES).transpose(2, 0, 3, 1).astype("<f4")
