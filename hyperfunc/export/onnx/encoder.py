"""The encoder as a graph: the trunk, from an image to the features of its pixels."""

from typing import Any

import numpy as np

from hyperfunc.export.onnx.graph import Graph, Precision
from hyperfunc.networks import EDSR

FEATURES = ("batch", "features", "height", "width")


def make_encoder(trunk: EDSR, parameters: Any, precision: Precision) -> Graph:
    """Write a trunk as a graph from ``image`` to ``features``.

    Its convolutions pad with zeros, as the trunk's own do. A tile that ends where the image ends
    therefore gives the image's features there; elsewhere it needs a halo of the receptive radius.

    Args:
        trunk: the network, which `EDSR.__call__` describes.
        parameters: of the trunk.
        precision: the type in which the graph computes.

    Returns:
        The graph; ``image`` is [batch, height, width, 3] in [0, 1], ``features`` is [batch,
        features, height, width].
    """
    graph = Graph(precision)

    def convolve(x: str, name: str, part: slice = slice(None)) -> str:
        kernel = np.asarray(parameters[name]["kernel"])[:, :, part].transpose(3, 2, 0, 1)
        bias = np.asarray(parameters[name]["bias"])
        # The parts of a fusion are added up; one of them has the bias.
        bias = bias if not part.start else np.zeros_like(bias)
        pads = [kernel.shape[2] // 2] * 4
        return graph.add("Conv", x, graph.constant(kernel), graph.constant(bias), pads=pads)

    image = graph.read("image", ("batch", "height", "width", 3))
    centred = graph.add("Sub", image, graph.constant(0.5))
    x = shallow = convolve(graph.add("Transpose", centred, perm=[0, 3, 1, 2]), "head")
    fused = ""
    for i in range(trunk.blocks):
        residual = graph.add("Relu", convolve(x, f"block_{i}_a"))
        residual = convolve(residual, f"block_{i}_b")
        factor = trunk.residual_scale
        if trunk.attention:
            gate = graph.add("Sigmoid", convolve(residual, f"block_{i}_gate"))
            residual = graph.add("Mul", residual, gate)
            factor = 2 * factor
        x = graph.add("Add", x, graph.add("Mul", residual, graph.constant(float(factor))))
        if trunk.fusion:
            share = convolve(x, "fusion", slice(i * trunk.width, (i + 1) * trunk.width))
            fused = graph.add("Add", fused, share) if fused else share
    tail = convolve(fused or x, "tail")
    graph.write("features", FEATURES, graph.add("Add", shallow, tail))
    return graph
