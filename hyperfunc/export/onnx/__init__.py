"""A model as ONNX graphs: an encoder from images to features, a decoder for each scale, a limiter.

`encoder`, `decoder` and `limiter` write the graphs, node by node; `folder` checks and stores them.
"""

from hyperfunc.export.onnx.folder import export_onnx, find_halo

__all__ = ["export_onnx", "find_halo"]
