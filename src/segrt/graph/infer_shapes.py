"""Infer the shapes of a whole graph, and say in which layer sizes do not fit."""

from __future__ import annotations

from math import prod

import onnx
import onnx_ir as ir

from segrt.graph import metadata
from segrt.graph._small_values import SmallValues
from segrt.graph.builder import OPSET, infer_node, static_shape


def infer_shapes(graph: ir.Graph) -> str | None:
    """Infer every value's shape anew from the inputs'; return what went wrong, None if nothing."""
    values = SmallValues(OPSET)
    for node in graph:
        for output in node.outputs:
            output.shape = None
        layer = metadata.layer_of(node) or node.name
        try:
            infer_node(node, known=values.get)
            values.visit(node)
        except (onnx.shape_inference.InferenceError, ValueError) as error:
            sizes = " and ".join(
                str(static_shape(value)) for value in node.inputs if value and not value.const_value
            )
            text = sizes or str(error).splitlines()[0]
            return f"at layer {layer!r} ({node.op_type}) these do not fit together: {text}"
        if (problem := _bad_result(node)) is not None:
            return f"at layer {layer!r} ({node.op_type}): {problem}"
    return None


def _bad_result(node: ir.Node) -> str | None:
    """Find what ONNX's inference lets through: empty results, reshapes that lose elements."""
    for output in node.outputs:
        if output.shape is not None and any(
            isinstance(size, int) and size <= 0 for size in output.shape
        ):
            return f"nothing is left of the image, {static_shape(output)}"
    if node.op_type == "Reshape" and node.inputs[0] is not None:
        before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
        known = [size for size in (*before, *after) if size is not None]
        if len(known) == len(before) + len(after) and prod(known[: len(before)]) != prod(
            known[len(before) :]
        ):
            return f"{before} cannot become {after}"
    return None
