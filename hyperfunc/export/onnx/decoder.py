"""The decoder as a graph: from features and the base to pixels at an integer scale.

The nodes do what `hyperfunc.function.fourier_phases` does, with the same kernels.
"""

import jax.numpy as jnp
import numpy as np

from hyperfunc.export.onnx.encoder import FEATURES
from hyperfunc.export.onnx.graph import Graph, Precision
from hyperfunc.function import FunctionalImage, fold_phases

MIRRORED = 2
"""Pixels by which the base is continued on each side, for the cubic interpolation."""


def make_decoder(function: FunctionalImage, scale: int, precision: Precision) -> Graph:
    """Write the rendering of functions as a graph from ``features`` and ``base`` to ``pixels``.

    Args:
        function: any function of the model, with a Fourier series per pixel. Its shared parameters
            and its head are used, and whether there is a base; without one, the graph reads none.
        scale: output pixels per input pixel.
        precision: the type in which the graph computes.

    Returns:
        The graph; ``features`` are those of the encoder, ``base`` is the one that it corrects, or
        else the image; ``pixels`` is [batch, scale * height, scale * width, channels], nominally in
        [0, 1], not clipped.
    """
    graph = Graph(precision)
    kernels = fold_phases(function, scale, jnp.zeros(2))
    channels = function.target.channels
    features = graph.read("features", FEATURES)

    field = np.asarray(kernels.field)
    field = field.reshape(*field.shape[:3], scale, scale, channels).transpose(5, 3, 4, 2, 0, 1)
    field = field.reshape(-1, *field.shape[3:])
    pixels = _to_samples(
        graph, graph.add("Conv", features, graph.constant(field), pads=[1] * 4), scale
    )
    weight = _add_weights(graph, features, np.asarray(kernels.fraction))
    pixels = graph.add("Div", pixels, _to_samples(graph, weight, scale))
    if function.base is not None:
        base = graph.read("base", ("batch", "height", "width", channels))
        base = graph.add("Transpose", base, perm=[0, 3, 1, 2])
        for axis in (2, 3):
            base = _mirror(graph, base, axis)
        kernel = np.asarray(kernels.base).transpose(2, 3, 0, 1).reshape(-1, 1, 4, 4)
        kernel = graph.constant(np.tile(kernel, (channels, 1, 1, 1)))
        base = graph.add("Conv", base, kernel, group=channels)
        pixels = graph.add("Add", pixels, _to_samples(graph, base, scale))
    # The samples before the image's first pixel, and those after its last one.
    before = -int(kernels.first[0])
    end = before - scale or np.iinfo(np.int64).max
    window = (graph.constant([number] * 2) for number in (before, end))
    pixels = graph.add("Slice", pixels, *window, graph.constant([2, 3]))
    pixels = graph.add("Transpose", pixels, perm=[0, 2, 3, 1])
    graph.write("pixels", ("batch", "rows", "columns", channels), pixels)
    return graph


def _add_weights(graph: Graph, features: str, fraction: np.ndarray) -> str:
    """Add up the tents at each sample of each interval: 1 except at the image's border."""
    tents = np.stack([1 - fraction, fraction], axis=-1)  # [axis, q, neighbour]
    kernel = np.einsum("ym,xn->yxmn", *tents).reshape(-1, 1, 2, 2)
    size = graph.add("Shape", features, start=2)
    shape = graph.add("Concat", graph.constant([1, 1]), size, axis=0)
    ones = graph.add("Expand", graph.constant(np.ones((1, 1, 1, 1))), shape)
    total = graph.add("Conv", ones, graph.constant(kernel), pads=[1] * 4)
    return graph.add("Max", total, graph.constant(1e-6))  # 0 where no window is: outside.


def _to_samples(graph: Graph, intervals: str, scale: int) -> str:
    """From [batch, c * scale * scale, i, j] to [batch, c, i * scale, j * scale]."""
    return graph.add("DepthToSpace", intervals, blocksize=scale, mode="CRD")


def _mirror(graph: Graph, base: str, axis: int) -> str:
    """Continue the base on both sides of an axis; the border pixel is repeated."""
    n = graph.add("Shape", base, start=axis, end=axis + 1)
    one, twice = graph.constant([1]), graph.add("Mul", n, graph.constant([2]))
    stop = graph.add("Squeeze", graph.add("Add", n, graph.constant([MIRRORED])))
    index = graph.add("Range", graph.constant(-MIRRORED), stop, graph.constant(1))
    rest = graph.add("Mod", index, twice)
    back = graph.add("Sub", graph.add("Sub", twice, one), rest)
    return graph.add("Gather", base, graph.add("Min", rest, back), axis=axis)
