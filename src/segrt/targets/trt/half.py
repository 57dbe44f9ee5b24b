"""A graph in half precision, for TensorRT's own parser, which takes types as they are written.

All floats become half precision, weights too; casts at the edges keep the types of inputs and
outputs. Scales of a Resize stay single: ONNX says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import EngineError
from segrt.targets.trt._narrow import LARGEST, narrow


def to_half(model: ir.Model) -> ir.Model:
    """Return a copy that computes in float16, with the same inputs and outputs.

    Raises:
        EngineError: A finite weight is too large.
    """
    half = model.clone()
    graph = half.graph
    scales = {
        node.inputs[index]
        for node in graph
        if node.op_type == "Resize"
        for index in (1, 2)
        if len(node.inputs) > index
    }
    for value in list(graph.initializers.values()):
        if value.dtype == ir.DataType.FLOAT and value not in scales:
            _narrow(value)
    for node in graph:
        if node.op_type == "Cast" and node.attributes["to"].as_int() == int(ir.DataType.FLOAT):
            node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.FLOAT16))
        if node.op_type == "ConstantOfShape" and node.outputs[0].dtype == ir.DataType.FLOAT:
            _narrow_fill(node)
        for output in node.outputs:
            if output.dtype == ir.DataType.FLOAT:
                output.type = ir.TensorType(ir.DataType.FLOAT16)
    for value in graph.inputs:
        if value.dtype == ir.DataType.FLOAT:
            _cast_input(graph, value)
    for index, value in enumerate(graph.outputs):
        if value.dtype == ir.DataType.FLOAT16:
            graph.outputs[index] = _cast_output(graph, value)
    return half


def _narrow(value: ir.Value) -> None:
    assert value.const_value is not None
    narrow = _narrowed(value.const_value.numpy(), str(value.name))
    value.const_value = ir.Tensor(narrow, name=value.name)
    value.type = ir.TensorType(ir.DataType.FLOAT16)


def _narrow_fill(node: ir.Node) -> None:
    given = node.attributes.get("value")
    array = np.zeros(1, np.float32) if given is None else given.as_tensor().numpy()
    node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(_narrowed(array, str(node.name))))


def _narrowed(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.float16]:
    half, lost = narrow(array, np.dtype(np.float16))
    if lost is not None:
        raise EngineError(
            f"constant {name!r} is too large for fp16",
            wanted=f"at most {LARGEST['float16']:g}",
            hint="use fp32",
        )
    return half


def _cast_input(graph: ir.Graph, value: ir.Value) -> None:
    uses = list(value.uses())
    node = _cast(value, f"{value.name}:fp16", ir.DataType.FLOAT16)
    graph.insert_before(graph[0], node)
    for use in uses:
        use.node.replace_input_with(use.idx, node.outputs[0])


def _cast_output(graph: ir.Graph, value: ir.Value) -> ir.Value:
    name = str(value.name)
    value.name = f"{name}:fp16"
    node = _cast(value, name, ir.DataType.FLOAT)
    # The producer is a node of this name.
    node.name = f"{name}:fp32"
    node.outputs[0].metadata_props.update(value.metadata_props)
    value.metadata_props.clear()
    graph.append(node)
    return node.outputs[0]


def _cast(value: ir.Value, name: str, to: ir.DataType) -> ir.Node:
    output = ir.Value(name=name, shape=value.shape, type=ir.TensorType(to))
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(to))], outputs=[output], name=name)
