"""Arithmetic and comparison of two tensors or more, with NumPy's broadcasting."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts

_KINDS = {
    "Add": "SUM",
    "And": "AND",
    "Div": "DIV",
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "Less": "LESS",
    "Max": "MAX",
    "Mean": "SUM",
    "Min": "MIN",
    "Mul": "PROD",
    "Or": "OR",
    "Pow": "POW",
    "Sub": "SUB",
    "Sum": "SUM",
    "Xor": "XOR",
}


@converts(*_KINDS)
def elementwise(writer: Writer, node: ir.Node) -> Tensor:
    """Write a chain from left to right; TensorRT wants operands of one rank."""
    values = [value for value in node.inputs if value is not None]
    rank = max(_rank(writer, value) for value in values)
    tensors = [writer.tensor(value, rank=rank) for value in values]
    if len(tensors) == 1:
        return writer.layer(writer.network.add_identity(tensors[0]))
    result, last, mean = tensors[0], len(tensors) - 1, node.op_type == "Mean"
    for index, tensor in enumerate(tensors[1:], start=1):
        role = "" if index == last and not mean else f"part{index}"
        result = writer.elementwise(result, tensor, _KINDS[node.op_type], role)
    if mean:
        result = writer.elementwise(
            result, writer.scalar(float(len(tensors)), result, "count"), "DIV"
        )
    return result


@converts("GreaterOrEqual", "LessOrEqual")
def comparison(writer: Writer, node: ir.Node) -> Tensor:
    """Write "or equal" as just that: the negation of the opposite would be true for NaN."""
    values = [value for value in node.inputs if value is not None]
    rank = max(_rank(writer, value) for value in values)
    a, b = (writer.tensor(value, rank=rank) for value in values)
    kind = "GREATER" if node.op_type == "GreaterOrEqual" else "LESS"
    beyond = writer.elementwise(a, b, kind, "beyond")
    return writer.elementwise(beyond, writer.elementwise(a, b, "EQUAL", "equal"), "OR")


@converts("Where")
def where(writer: Writer, node: ir.Node) -> Tensor:
    """Write a choice between two tensors."""
    values = [value for value in node.inputs if value is not None]
    rank = max(_rank(writer, value) for value in values)
    return writer.layer(
        writer.network.add_select(*(writer.tensor(value, rank=rank) for value in values))
    )


def _rank(writer: Writer, value: ir.Value) -> int:
    array = writer.array(value)
    return np.ndim(array) if array is not None else len(writer.tensor(value).shape)
