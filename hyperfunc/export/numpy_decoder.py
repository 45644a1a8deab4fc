"""Render a function file with NumPy alone. You may copy this module: it needs no other.

    image = render("photo.hfn", 2160, 3840)  # [h, w, 3], float32, nominally in [0, 1]

This is the readable reference of the format in ``docs/format.md``, for files of the `sr` preset (a
Fourier field for each pixel) with any quantisation. It favours clarity over speed: a megapixel
takes a second or two. It trusts the file; `hyperfunc.load` checks it.
"""

import functools
import json

import numpy as np


def load(path):
    """Read a file.

    Returns:
        The metadata, a dictionary of texts, and the arrays by name, as float32: integers are
        already multiplied by their scales.
    """
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    metadata, arrays = header.pop("__metadata__"), {}
    if (metadata["format"], metadata["version"]) != ("hyperfunc", "1"):
        raise ValueError(f"{path}: this decoder reads version 1 of the format hyperfunc")
    dtypes = {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1", "U16": "<u2"}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        array = np.frombuffer(data[start:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
        top = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
        arrays[name] = array.astype(np.float32) / np.float32(top)
    scales = {name: arrays.pop(name) for name in list(arrays) if name.startswith("scales.")}
    for name, scale in scales.items():
        arrays[name.removeprefix("scales.")] *= scale
    return metadata, arrays


def render(path, height, width, index=0):
    """Render an image of height x width pixels, [h, w, channels], not clipped.

    If the file holds several images, ``index`` selects one.
    """
    metadata, arrays = load(path)
    target, windows = json.loads(metadata["target"]), json.loads(metadata["windows"])
    per_pixel = {"size": 2, "stride": 1, "overhang": 0.5, "profile": "tent"}
    if target["type"] != "FourierField" or windows != per_pixel:
        raise ValueError(f"{path}: this decoder renders a FourierField for each pixel only")
    n_rows, n_cols = json.loads(metadata["size"])
    step_y, step_x = n_rows / height, n_cols / width  # the footprint, input pixels
    frequencies = arrays["shared.frequencies"]
    omega = np.append(frequencies, np.zeros((1, 2)), axis=0)  # The constant comes last.
    kappa, f = np.exp(arrays["shared.log_kappa"]), len(omega) - 1

    @functools.lru_cache(maxsize=4)
    def coefficients(row):
        """Complex coefficients of a row of target networks, [columns, f + 1, channels]."""
        if "theta.coefficients" in arrays:
            c = arrays["theta.coefficients"][index, row]
        else:
            c = np.tensordot(arrays["theta.features"][index, row], arrays["theta.kernel"], 1)
        sines = np.append(c[:, f : 2 * f], np.zeros_like(c[:, :1]), axis=1)
        return np.append(c[:, :f], c[:, 2 * f :], axis=1) + 1j * sines

    def waves(axis, local, step):
        """Evaluate exp(i w x), averaged over a Gaussian pixel, [positions, f + 1]."""
        w = omega[:, axis]
        return np.exp(1j * np.multiply.outer(local, w) - kappa * (step * w) ** 2)

    x = (np.arange(width) + 0.5) * step_x
    columns = []
    for i, w in tents(x, n_cols):
        wave = w[:, None] * waves(1, x - i - 0.5, step_x)
        columns.append((i, np.concatenate([wave.real, wave.imag], axis=1, dtype=np.float32)))
    image = np.zeros((height, width, target["channels"]), np.float32)
    for k in range(height):
        y = np.array([(k + 0.5) * step_y])
        (above, u), (below, v) = tents(y, n_rows)
        line = (u * waves(0, y - above - 0.5, step_y)).T * coefficients(int(above[0]))
        line += (v * waves(0, y - below - 0.5, step_y)).T * coefficients(int(below[0]))
        # The real part of the product with the waves of a column is a real product.
        line = np.concatenate([line.real, -line.imag], axis=1, dtype=np.float32)
        for i, wave in columns:
            image[k] += (wave[:, None] @ line[i])[:, 0]
    if "base" in arrays:
        image *= np.exp(-8 * (max(step_y - 0.8, 0) ** 2 + max(step_x - 0.8, 0) ** 2))
        base = arrays["base"][index]
        base = np.einsum("xw,hwc->hxc", cubic(n_cols, width), base, optimize=True)
        image += np.tensordot(cubic(n_rows, height), base, 1)
    return image


def tents(x, n):
    """Find the two windows that cover each position, each as (index, weight)."""
    inside = np.clip(x - 0.5, 0, n - 1)
    low = np.floor(inside).astype(int)
    return (low, 1 - (inside - low)), (np.minimum(low + 1, n - 1), inside - low)


def cubic(n, samples):
    """Return Keys' cubic interpolation (a = -0.5, wider for a pitch above 1) as [samples, n]."""
    step = n / samples
    width = max(step, 1.0)
    x = (np.arange(samples)[:, None] + 0.5) * step - 0.5
    i = np.floor(x - 2 * width).astype(int) + 1 + np.arange(int(np.ceil(4 * width)) + 1)
    d = np.abs(x - i) / width
    near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    weight = np.where(d <= 1, near, np.where(d < 2, far, 0))
    weight /= weight.sum(axis=1, keepdims=True)
    matrix = np.zeros((samples, n), np.float32)
    mirrored = np.minimum(i % (2 * n), 2 * n - 1 - i % (2 * n))
    np.add.at(matrix, (np.arange(samples)[:, None], mirrored), weight)
    return matrix
