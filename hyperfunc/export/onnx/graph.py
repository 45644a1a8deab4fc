"""Collect the nodes of an ONNX graph, and make a model of them."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

import hyperfunc

Precision = Literal["float32", "float16"]
Shape = tuple[int | str, ...]
"""Numbers of elements; a name stands for a number that is known only when the graph runs."""

OPSET = 17
IR_VERSION = 8
"""The oldest that has this opset, so that old runtimes read the file, too."""


class Graph:
    """Nodes, constants, inputs and outputs. Values are named; methods return the names.

    Inputs and outputs are float32, whatever the graph computes in.

    Args:
        precision: the type in which the graph computes.
    """

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self._nodes: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = []
        self._constants: dict[str, np.ndarray] = {}
        self._inputs: dict[str, Shape] = {}
        self._outputs: dict[str, Shape] = {}

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs."""
        return list(self._inputs)

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append((operator, inputs, output, attributes))
        return output

    def constant(self, values: Any) -> str:
        """Add a constant: numbers of the graph's precision, or integers."""
        values = np.asarray(values)
        dtype = np.int64 if values.dtype.kind == "i" else np.dtype(self.precision)
        name = f"constant_{len(self._constants)}"
        self._constants[name] = np.ascontiguousarray(values, dtype).reshape(values.shape)
        return name

    def read(self, name: str, shape: Shape) -> str:
        """Declare an input, and return it in the graph's precision."""
        self._inputs[name] = shape
        return name if self.precision == "float32" else self.add("Cast", name, to=_FLOAT16)

    def write(self, name: str, shape: Shape, value: str) -> None:
        """Make a value an output."""
        self._outputs[name] = shape
        self.add("Cast", value, output=name, to=_FLOAT32)

    def to_bytes(self, name: str, metadata: Mapping[str, str]) -> bytes:
        """Return the model as a file; ONNX's checker has accepted it."""
        from onnx import checker, helper, numpy_helper

        def declare(values: dict[str, Shape]) -> list[Any]:
            return [helper.make_tensor_value_info(*item) for item in _with_type(values)]

        graph = helper.make_graph(
            [
                helper.make_node(operator, inputs, [output], name=output, **attributes)
                for operator, inputs, output, attributes in self._nodes
            ],
            name,
            declare(self._inputs),
            declare(self._outputs),
            [numpy_helper.from_array(array, key) for key, array in self._constants.items()],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="hyperfunc",
            producer_version=hyperfunc.__version__,
        )
        helper.set_model_props(model, dict(metadata))
        checker.check_model(model, full_check=True)
        return model.SerializeToString()


_FLOAT32, _FLOAT16 = 1, 10
"""ONNX's numbers of these types."""


def _with_type(values: dict[str, Shape]) -> list[tuple[str, int, Shape]]:
    return [(name, _FLOAT32, shape) for name, shape in values.items()]
