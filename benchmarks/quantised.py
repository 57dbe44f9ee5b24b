"""Put explicit quantisation into a lowered graph: symmetric, int8, one scale an output channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from segrt.graph import metadata

# What keeps the numbers' range, beside the ReLU that sets it.
_MOVES = ("MaxPool", "DepthToSpace", "Resize")


def quantise(model: ir.Model, largest: Mapping[str, float]) -> ir.Model:
    """Return a copy with Q/DQ on weights, and on activations where they are stored.

    For timing, not for use: weights are rounded to the nearest.

    Args:
        model: Lowered; convolutions with ReLU, pools, upsamplings, concatenations.
        largest: Largest number behind each layer's ReLU, by the layer's name.
    """
    relus = [node for node in model.graph if node.op_type == "Relu"]
    ends = {node.outputs[0].name or "": largest[metadata.layer_of(node) or ""] for node in relus}
    scales = {}
    for node in model.graph:
        if node.op_type == "Conv" and node.inputs[1] is not None:
            array = np.asarray(node.inputs[1].const_value.numpy())  # type: ignore[union-attr]
            scale = (np.abs(array).max(axis=(1, 2, 3)) / 127).astype(np.float32)
            scales[node.name or ""] = scale
    return write(model, ends, scales)


def write(
    model: ir.Model,
    largest: Mapping[str, float],
    scales: Mapping[str, np.ndarray],
    *,
    unsigned: bool = False,
) -> ir.Model:
    """Return a copy with Q/DQ.

    Args:
        model: As `quantise` takes it.
        largest: Largest number behind each ReLU, by the name of the value; others stay as they are.
        scales: Of convolutions' weights, one an output, by the node's name; likewise.
        unsigned: Round activations as Hopper's kernels do behind a ReLU: twice as finely.
    """
    copy = model.clone()
    for value, most in ranges(copy.graph, largest).items():
        step, kind = (most / 254, np.uint8) if unsigned else (most / 127, np.int8)
        _round_activation(copy.graph, value, step, np.zeros((), kind))
    for node in list(copy.graph):
        if node.op_type == "Conv" and node.name in scales:
            _round_weights(copy.graph, node, scales[node.name])
    return copy


def ranges(graph: ir.Graph, largest: Mapping[str, float]) -> dict[ir.Value, float]:
    """Return the range of every value to be rounded; all parts of a concatenation have one."""
    group: dict[ir.Value, int] = {}
    most: list[float] = []
    for node in graph:
        value, known = node.outputs[0], [group[x] for x in node.inputs if x in group]
        if node.op_type == "Relu" and value.name in largest:
            group[value] = len(most)
            most.append(largest[value.name])
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


def _round_activation(graph: ir.Graph, value: ir.Value, scale: float, point: np.ndarray) -> None:
    ends = [
        _constant(graph, f"{value.name}:scale", np.array(scale, np.float32)),
        _constant(graph, f"{value.name}:point", point),
    ]
    readers = list(value.uses())
    q = ir.node("QuantizeLinear", [value, *ends], name=f"{value.name}:q")
    dq = ir.node("DequantizeLinear", [q.outputs[0], *ends], name=f"{value.name}:dq")
    maker = value.producer()
    assert maker is not None
    graph.insert_after(maker, [q, dq])
    for reader, index in readers:
        reader.replace_input_with(index, dq.outputs[0])


def _round_weights(graph: ir.Graph, node: ir.Node, scale: np.ndarray) -> None:
    kernel = node.inputs[1]
    assert kernel is not None
    assert kernel.const_value is not None
    array = kernel.const_value.numpy()
    integers = np.rint(array / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
    ends = [
        _constant(graph, f"{node.name}:integers", integers),
        _constant(graph, f"{node.name}:scales", scale),
        _constant(graph, f"{node.name}:points", np.zeros(len(scale), np.int8)),
    ]
    dq = ir.node("DequantizeLinear", ends, attributes={"axis": 0}, name=f"{node.name}:dw")
    graph.insert_before(node, dq)
    node.replace_input_with(1, dq.outputs[0])
