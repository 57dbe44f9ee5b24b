"""Einsum: products and sums by letters."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Einsum")
def einsum(writer: Writer, node: ir.Node) -> Tensor:
    """Write an einsum; an ellipsis or a diagonal is refused, as TensorRT refuses them."""
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    if "..." in equation:
        raise writer.unsupported(f"equation {equation}", "a letter for every axis")
    terms = equation.partition("->")[0].split(",")
    if any(len(set(term)) != len(term) for term in terms):
        raise writer.unsupported(f"equation {equation}", "no letter twice in one operand")
    tensors = [writer.tensor(value) for value in node.inputs]
    return writer.layer(writer.network.add_einsum(tensors, equation))
