"""What a graph computes from sizes and constants alone, worked out once all sizes are known."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from segrt.graph import custom_nodes
from segrt.graph.builder import OPSET

# Whatever reads these looks at how they are quantised.
_LEFT_ALONE = ("QuantizeLinear", "DequantizeLinear")
_MOST_ELEMENTS = 1 << 24


def note_known_values(graph: ir.Graph) -> None:
    """Give every value that depends on no input its array, as initializers have theirs.

    Args:
        graph: All its sizes are known; changed in place, nodes stay.
    """
    for node in graph:
        if node.op_type in _LEFT_ALONE or custom_nodes.is_custom(node) or _is_known(node):
            continue
        arrays = _sizes(node) if node.op_type == "Shape" else _constants(node)
        if arrays is not None and _is_small(node):
            for output, array in zip(node.outputs, _run(node, arrays), strict=True):
                output.const_value = ir.tensor(np.array(array), name=output.name)


def is_known(node: ir.Node) -> bool:
    """Say whether all that a node makes is known, and nobody outside wants it."""
    return _is_known(node) and not any(value.is_graph_output() for value in node.outputs)


def _is_known(node: ir.Node) -> bool:
    return all(value.const_value is not None for value in node.outputs)


def _is_small(node: ir.Node) -> bool:
    sizes = [size for value in node.outputs for size in value.shape or () if isinstance(size, int)]
    return float(np.prod(sizes, dtype=np.float64)) <= _MOST_ELEMENTS


def _sizes(node: ir.Node) -> list[npt.NDArray[Any] | None] | None:
    """Return an array with the sizes of the input of a Shape; its elements do not matter."""
    value = node.inputs[0]
    sizes = [size for size in (value.shape or ()) if isinstance(size, int)] if value else []
    if value is None or value.shape is None or len(sizes) != len(value.shape):
        return None
    return [np.broadcast_to(np.float32(0), sizes)]


def _constants(node: ir.Node) -> list[npt.NDArray[Any] | None] | None:
    found: list[npt.NDArray[Any] | None] = []
    for value in node.inputs:
        tensor = None if value is None else value.const_value
        if tensor is None and value is not None:
            return None
        found.append(None if tensor is None else np.asarray(tensor.numpy()))
    return found


def _run(node: ir.Node, arrays: list[npt.NDArray[Any] | None]) -> list[npt.NDArray[Any]]:
    # Slow to import, and only needed for graphs that compute sizes.
    from onnx.reference import ReferenceEvaluator

    proto = onnx.NodeProto(op_type=node.op_type, name=node.name or "")
    proto.input.extend("" if array is None else f"i{i}" for i, array in enumerate(arrays))
    proto.output.extend(f"o{i}" for i in range(len(node.outputs)))
    proto.attribute.extend(ir.serde.serialize_attribute(a) for a in node.attributes.values())
    feeds = {f"i{i}": array for i, array in enumerate(arrays) if array is not None}
    found = ReferenceEvaluator(proto, opsets={"": OPSET}).run(None, feeds)
    return [np.asarray(array) for array in cast("list[Any]", found)]
