"""The limiter as a graph: it clips pixels as `hyperfunc upscale` does."""

import numpy as np

from hyperfunc.export.onnx.encoder import IMAGE
from hyperfunc.export.onnx.graph import Graph
from hyperfunc.pixels import OVERSHOOT

LARGE = ("batch", "rows", "columns", 3)


def make_limiter() -> Graph:
    """Write the bound on the overshoot (`OVERSHOOT`) as a graph, for images of 8 bits.

    Returns:
        The graph, from ``image``, [batch, height, width, 3] in [0, 1], and ``pixels``, what a
        decoder has made of it, [batch, scale * height, scale * width, 3], to ``limited``, of the
        shape of the pixels: they are clipped to near the range of the image around them.
    """
    graph = Graph("float32")
    image, pixels = graph.read("image", IMAGE), graph.read("pixels", LARGE)
    image, pixels = (graph.add("Transpose", x, perm=[0, 3, 1, 2]) for x in (image, pixels))
    lightest = _find_lightest(graph, image)
    darkest = graph.add("Neg", _find_lightest(graph, graph.add("Neg", image)))
    spread = graph.add("Sub", lightest, darkest)
    edges = graph.add("Relu", graph.add("Sub", spread, graph.constant(OVERSHOOT.flat)))
    margin = graph.add(
        "Add",
        graph.add("Mul", spread, graph.constant(OVERSHOOT.share)),
        graph.add("Mul", edges, graph.constant(OVERSHOOT.at_edges)),
    )
    margin = graph.add("Add", margin, graph.constant(OVERSHOOT.rounding / 255))
    size = graph.add("Shape", pixels)
    low, high = (
        graph.add(
            "Resize", limit, "", "", size, mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
        for limit in (graph.add("Sub", darkest, margin), graph.add("Add", lightest, margin))
    )  # fmt: skip
    limited = graph.add("Min", graph.add("Max", pixels, low), high)
    graph.write("limited", LARGE, graph.add("Transpose", limited, perm=[0, 2, 3, 1]))
    return graph


def limit(image: np.ndarray, pixels: np.ndarray, scale: int) -> np.ndarray:
    """Compute what the graph computes.

    Args:
        image: [batch, height, width, 3], float32 in [0, 1].
        pixels: what the decoder has made of it.
        scale: at which it has.
    """
    radius = OVERSHOOT.radius
    padded = np.pad(image, [(0, 0), (radius, radius), (radius, radius), (0, 0)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, [2 * radius + 1] * 2, axis=(1, 2))
    low, high = windows.min((-2, -1)), windows.max((-2, -1))
    margin = OVERSHOOT.margin(high - low) + OVERSHOOT.rounding / 255
    low, high = (x.repeat(scale, 1).repeat(scale, 2) for x in (low - margin, high + margin))
    return pixels.clip(low, high)


def _find_lightest(graph: Graph, image: str) -> str:
    """The largest value near each pixel, for each channel."""
    radius = OVERSHOOT.radius
    return graph.add("MaxPool", image, kernel_shape=[2 * radius + 1] * 2, pads=[radius] * 4)
