"""A quantised graph without its quantisation: what a library without eight bits would run."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import GraphBuilder
from segrt.measurement.reading.step import Array


def drop_quantisation(graph: ir.Graph) -> None:
    """Take QuantizeLinear and DequantizeLinear out; weights become the floats they stand for.

    Nodes that nothing reads any more stay, for whoever removes such nodes.
    """
    builder = GraphBuilder(graph)
    for node in list(graph):
        if node.op_type != "DequantizeLinear" or node.inputs[0] is None:
            continue
        stored = node.inputs[0]
        producer = stored.producer()
        if stored.const_value is not None:
            array = _floats(node, stored.const_value.numpy())
            replacement: ir.Value | None = builder.constant(f"{stored.name}:floats", array)
        elif producer is not None and producer.op_type == "QuantizeLinear":
            replacement = producer.inputs[0]
        else:
            continue
        if replacement is not None:
            _replace(graph, node, replacement)


def _replace(graph: ir.Graph, node: ir.Node, replacement: ir.Value) -> None:
    output = node.outputs[0]
    if output.is_graph_output():
        # Another value may not take its place under its name: an Identity makes one that does.
        same = ir.Node("", "Identity", [replacement])
        same.outputs[0].name, output.name = output.name, None
        same.outputs[0].shape, same.outputs[0].type = output.shape, output.type
        graph.insert_after(node, same)
        graph.outputs[graph.outputs.index(output)] = same.outputs[0]
    output.replace_all_uses_with(replacement)


def _floats(node: ir.Node, stored: Array) -> Array:
    """Return ``(stored - zero) * scale``, per channel where there is a scale for each."""
    scale, zero = (_constant(node, index) for index in (1, 2))
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
    shape = [1] * stored.ndim
    if np.size(scale) > 1:
        shape[axis] = -1
    numbers = stored.astype(np.float32) - zero.astype(np.float32).reshape(
        shape if np.size(zero) > 1 else [1] * stored.ndim
    )
    return np.asarray(numbers * scale.reshape(shape), np.float32)


def _constant(node: ir.Node, index: int) -> Array:
    value = node.inputs[index] if index < len(node.inputs) else None
    held = None if value is None else value.const_value
    return np.zeros(1, np.float32) if held is None else held.numpy()
