"""Put explicit quantisation into a lowered graph: symmetric, int8, one scale an output channel.

For timing, not for use: scales come from the largest number that one image gives.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from segrt.graph import metadata

# What keeps the numbers' range, beside the ReLU that sets it.
_MOVES = ("MaxPool", "DepthToSpace", "Resize")


def quantise(model: ir.Model, largest: Mapping[str, float]) -> ir.Model:
    """Return a copy with Q/DQ on weights, and on activations where they are stored.

    Args:
        model: Lowered; convolutions with ReLU, pools, upsamplings, concatenations.
        largest: Largest number behind each layer's ReLU, by the layer's name.
    """
    copy = model.clone()
    ranges = _ranges(copy.graph, largest)
    for value, most in ranges.items():
        _round_activation(copy.graph, value, most / 127)
    for node in list(copy.graph):
        if node.op_type == "Conv" and node.inputs[1] is not None:
            _round_weights(copy.graph, node)
    return copy


def _ranges(graph: ir.Graph, largest: Mapping[str, float]) -> dict[ir.Value, float]:
    """Return the range of every value to be rounded; all parts of a concatenation have one."""
    group: dict[ir.Value, int] = {}
    most: list[float] = []
    for node in graph:
        value, known = node.outputs[0], [group[x] for x in node.inputs if x in group]
        if node.op_type == "Relu":
            group[value] = len(most)
            most.append(largest[metadata.layer_of(node) or ""])
        elif node.op_type in _MOVES and known:
            group[value] = known[0]
        elif node.op_type == "Concat" and known:
            group[value] = known[0]
            for other in known[1:]:
                most[known[0]] = max(most[known[0]], most[other])
                group.update({x: known[0] for x, index in group.items() if index == other})
    return {value: most[index] for value, index in group.items()}


def _constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.from_numpy(array.dtype)
    graph.register_initializer(value)
    return value


def _round_activation(graph: ir.Graph, value: ir.Value, scale: float) -> None:
    ends = [
        _constant(graph, f"{value.name}:scale", np.array(scale, np.float32)),
        _constant(graph, f"{value.name}:point", np.zeros((), np.int8)),
    ]
    readers = list(value.uses())
    q = ir.node("QuantizeLinear", [value, *ends], name=f"{value.name}:q")
    dq = ir.node("DequantizeLinear", [q.outputs[0], *ends], name=f"{value.name}:dq")
    maker = value.producer()
    assert maker is not None
    graph.insert_after(maker, [q, dq])
    for reader, index in readers:
        reader.replace_input_with(index, dq.outputs[0])


def _round_weights(graph: ir.Graph, node: ir.Node) -> None:
    kernel = node.inputs[1]
    assert kernel is not None
    assert kernel.const_value is not None
    array = kernel.const_value.numpy()
    scale = (np.abs(array).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    integers = np.rint(array / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
    ends = [
        _constant(graph, f"{node.name}:integers", integers),
        _constant(graph, f"{node.name}:scales", scale),
        _constant(graph, f"{node.name}:points", np.zeros(len(scale), np.int8)),
    ]
    dq = ir.node("DequantizeLinear", ends, attributes={"axis": 0}, name=f"{node.name}:dw")
    graph.insert_before(node, dq)
    node.replace_input_with(1, dq.outputs[0])
