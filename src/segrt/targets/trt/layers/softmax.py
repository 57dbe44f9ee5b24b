"""Softmax and its logarithm."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Softmax")
def softmax(writer: Writer, node: ir.Node) -> Tensor:
    """Write a softmax over one axis; the default axis depends on the rank, so it is set."""
    x = writer.tensor(node.inputs[0])
    layer = writer.network.add_softmax(x)
    layer.axes = 1 << (node.attributes.get_int("axis", -1) % len(x.shape))
    return writer.layer(layer)


@converts("LogSoftmax")
def log_softmax(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``d - log(sum(exp(d)))`` with d the distance to the largest: never log(0)."""
    x = writer.tensor(node.inputs[0])
    mask = 1 << (node.attributes.get_int("axis", -1) % len(x.shape))
    kinds = writer.trt.ReduceOperation
    largest = writer.layer(writer.network.add_reduce(x, kinds.MAX, mask, True), "largest")
    distance = writer.elementwise(x, largest, "SUB", "distance")
    power = writer.unary(distance, "EXP", "power")
    total = writer.layer(writer.network.add_reduce(power, kinds.SUM, mask, True), "total")
    return writer.elementwise(distance, writer.unary(total, "LOG", "log"), "SUB")
