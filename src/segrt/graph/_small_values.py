"""Shape arithmetic that a graph does while it runs, worked out where all sizes are known.

Graphs of other exporters compute the target of a Reshape from the sizes of their input. Shape
inference needs those numbers to say that sizes do not meet.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

Array: TypeAlias = npt.NDArray[Any]

# Arrays of at most so many integers are taken for sizes.
_SMALL = 64
_MOVES = ("Gather", "Slice", "Concat", "Split", "Unsqueeze", "Squeeze", "Reshape", "Identity")
_DECISIONS = ("Greater", "Less", "Equal", "Not", "And", "Or", "Where")
_NUMBERS = ("Shape", "Cast", "Add", "Sub", "Mul", "Div", "Max", "Min", "Neg")
_ARITHMETIC = frozenset((*_NUMBERS, *_DECISIONS, *_MOVES))


class SmallValues:
    """Integers known so far, by value; grows node by node in topological order."""

    def __init__(self, opset: int) -> None:
        self._opset = opset
        self._known: dict[ir.Value, Array] = {}

    def get(self, value: ir.Value) -> Array | None:
        """Return a small array of integers, None if it is unknown or something else."""
        constant = value.const_value
        if value not in self._known and constant is not None and constant.size <= _SMALL:
            self._known[value] = constant.numpy()
        return self._known.get(value)

    def visit(self, node: ir.Node) -> None:
        """Compute a node's outputs if it is shape arithmetic on known sizes."""
        if node.op_type not in _ARITHMETIC or node.domain != "" or not _is_whole(node):
            return
        arrays = [None if value is None else self._input(node, value) for value in node.inputs]
        if any(a is None and v is not None for a, v in zip(arrays, node.inputs, strict=True)):
            return
        for output, array in zip(node.outputs, self._run(node, arrays), strict=True):
            if array.size <= _SMALL:
                self._known[output] = array

    def _input(self, node: ir.Node, value: ir.Value) -> Array | None:
        if node.op_type != "Shape":
            return self.get(value)
        if value.shape is None or not all(isinstance(size, int) for size in value.shape):
            return None
        # A view of one element: only the shape is read.
        return np.broadcast_to(np.float32(0), [int(str(size)) for size in value.shape])

    def _run(self, node: ir.Node, arrays: list[Array | None]) -> list[Array]:
        # Slow to import, and only needed for graphs that compute shapes.
        from onnx.reference import ReferenceEvaluator

        proto = onnx.NodeProto(op_type=node.op_type, name=node.name or "")
        proto.input.extend("" if array is None else f"i{i}" for i, array in enumerate(arrays))
        proto.output.extend(f"o{i}" for i in range(len(node.outputs)))
        proto.attribute.extend(ir.serde.serialize_attribute(a) for a in node.attributes.values())
        feeds = {f"i{i}": array for i, array in enumerate(arrays) if array is not None}
        try:
            found = ReferenceEvaluator(proto, opsets={"": self._opset}).run(None, feeds)
        except Exception as error:
            # The evaluator raises whatever NumPy raises.
            raise ValueError(f"{node.op_type} of sizes: {error}") from error
        return [np.asarray(array) for array in cast("list[Any]", found)]


def _is_whole(node: ir.Node) -> bool:
    dtype = node.outputs[0].dtype
    return dtype is not None and (dtype.is_integer() or dtype == ir.DataType.BOOL)
