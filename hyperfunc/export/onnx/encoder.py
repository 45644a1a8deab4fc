"""The encoder as a graph: from an image to the features of its pixels, and to a corrected base."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hyperfunc.export.onnx.graph import Graph, Precision
from hyperfunc.networks import EDSR, HalfEDSR

FEATURES = ("batch", "features", "height", "width")
IMAGE = ("batch", "height", "width", 3)


def make_encoder(trunk: EDSR | HalfEDSR, parameters: Any, precision: Precision) -> Graph:
    """Write a trunk, and the correction of the base if there is one, as a graph.

    Its convolutions pad with zeros, as the trunk's own do. A tile that ends where the image ends
    therefore gives the image's features there; elsewhere it needs a halo.

    Args:
        trunk: the network, which `EDSR.__call__` or `HalfEDSR.__call__` describes.
        parameters: of the hypernetwork.
        precision: the type in which the graph computes.

    Returns:
        The graph, from ``image``, [batch, height, width, 3] in [0, 1], to ``features``, [batch,
        features, height, width], and to ``base``, of the shape of the image, if the network
        corrects it.
    """
    graph = Graph(precision)
    image = graph.read("image", IMAGE)
    centred = graph.add("Sub", image, graph.constant(0.5))
    centred = graph.add("Transpose", centred, perm=[0, 3, 1, 2])
    add_trunk = _add_edsr if isinstance(trunk, EDSR) else _add_half_edsr
    features = add_trunk(graph, centred, trunk, parameters["backbone"])
    graph.write("features", FEATURES, features)
    if "correction" in parameters:
        layer = parameters["correction"]
        kernel = np.asarray(layer["kernel"])[None, None]
        correction = _convolve(graph, features, {**layer, "kernel": kernel})
        correction = graph.add("Transpose", correction, perm=[0, 2, 3, 1])
        graph.write("base", IMAGE, graph.add("Add", image, correction))
    return graph


def _convolve(graph: Graph, x: str, layer: Mapping[str, Any], part: slice = slice(None)) -> str:
    """Add a convolution; of a part of its input channels, if it is given only those."""
    kernel = np.asarray(layer["kernel"])[:, :, part].transpose(3, 2, 0, 1)
    bias = np.asarray(layer["bias"])
    # The parts of a fusion are added up; one of them has the bias.
    bias = bias if not part.start else np.zeros_like(bias)
    pads = [kernel.shape[2] // 2] * 4
    return graph.add("Conv", x, graph.constant(kernel), graph.constant(bias), pads=pads)


def _add_edsr(graph: Graph, x: str, trunk: Any, parameters: Any) -> str:
    """Add an `EDSR`, from a centred image to features."""
    x = shallow = _convolve(graph, x, parameters["head"])
    fused = ""
    # At half the resolution, the scale of the residuals is 1.
    scale = getattr(trunk, "residual_scale", 1.0)
    for i in range(trunk.blocks):
        residual = graph.add("Relu", _convolve(graph, x, parameters[f"block_{i}_a"]))
        residual = _convolve(graph, residual, parameters[f"block_{i}_b"])
        factor = scale
        if trunk.attention:
            gate = _convolve(graph, residual, parameters[f"block_{i}_gate"])
            residual = graph.add("Mul", residual, graph.add("Sigmoid", gate))
            factor = 2 * factor
        x = graph.add("Add", x, graph.add("Mul", residual, graph.constant(float(factor))))
        if trunk.fusion:
            part = slice(i * trunk.width, (i + 1) * trunk.width)
            share = _convolve(graph, x, parameters["fusion"], part)
            fused = graph.add("Add", fused, share) if fused else share
    return graph.add("Add", shallow, _convolve(graph, fused or x, parameters["tail"]))


def _add_half_edsr(graph: Graph, x: str, trunk: Any, parameters: Any) -> str:
    """Add a `HalfEDSR`: squares of 2 x 2 pixels become channels, and channels become pixels."""
    size = graph.add("Shape", x, start=2)
    odd = graph.add("Mod", size, graph.constant([2, 2]))
    pads = graph.add("Concat", graph.constant([0] * 6), odd, axis=0)
    folded = graph.add("SpaceToDepth", graph.add("Pad", x, pads), blocksize=2)
    coarse = _add_edsr(graph, folded, trunk, parameters["trunk"])
    expanded = _convolve(graph, coarse, parameters["expand"])
    fine = graph.add("DepthToSpace", expanded, blocksize=2, mode="DCR")
    window = (graph.constant([0, 0]), size, graph.constant([2, 3]))
    fine = graph.add("Slice", fine, *window)
    fine = graph.add("Add", fine, _convolve(graph, x, parameters["skip"]))
    if not trunk.fine_blocks:
        return fine
    fine_trunk = EDSR(trunk.fine_width, trunk.fine_blocks, 1.0, trunk.attention, trunk.fusion)
    detail = _add_edsr(graph, fine, fine_trunk, parameters["fine_trunk"])
    return graph.add("Add", fine, _convolve(graph, detail, parameters["join"]))
