"""Norms: reductions of powers, and tensors divided by their norm."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts
from segrt.targets.trt.layers.reduce import axis_mask


@converts("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceSumSquare")
def norm(writer: Writer, node: ir.Node) -> Tensor:
    """Write a sum of something, and something of the sum."""
    before: dict[str, Callable[[Tensor], Tensor]] = {
        "ReduceL1": lambda x: writer.unary(x, "ABS", "size"),
        "ReduceL2": lambda x: writer.elementwise(x, x, "PROD", "square"),
        "ReduceLogSum": lambda x: x,
        "ReduceSumSquare": lambda x: writer.elementwise(x, x, "PROD", "square"),
    }
    behind = {"ReduceL2": "SQRT", "ReduceLogSum": "LOG"}.get(node.op_type)
    x = before[node.op_type](writer.tensor(node.inputs[0]))
    total = _sum(writer, node, x, "total" if behind else "")
    return writer.unary(total, behind) if behind else total


@converts("ReduceLogSumExp")
def log_sum_exp(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``m + log(sum(exp(x - m)))`` with m the largest: no power overflows."""
    x = writer.tensor(node.inputs[0])
    mask = axis_mask(writer, node, x)
    kinds = writer.trt.ReduceOperation
    largest = writer.layer(writer.network.add_reduce(x, kinds.MAX, mask, True), "largest")
    power = writer.unary(writer.elementwise(x, largest, "SUB", "distance"), "EXP", "power")
    total = writer.layer(writer.network.add_reduce(power, kinds.SUM, mask, True), "total")
    logarithm = writer.unary(total, "LOG", "log")
    if node.attributes.get_int("keepdims", 1):
        return writer.elementwise(logarithm, largest, "SUM")
    kept = writer.elementwise(logarithm, largest, "SUM", "kept")
    return writer.layer(writer.network.add_reduce(kept, kinds.MAX, mask, False))


@converts("LpNormalization")
def normalised(writer: Writer, node: ir.Node) -> Tensor:
    """Write a tensor divided by its norm along an axis."""
    x = writer.tensor(node.inputs[0])
    power = node.attributes.get_int("p", 2)
    if power not in (1, 2):
        raise writer.unsupported(f"p {power}", "1 or 2")
    mask = 1 << (node.attributes.get_int("axis", -1) % len(x.shape))
    parts = (
        writer.unary(x, "ABS", "size") if power == 1 else writer.elementwise(x, x, "PROD", "square")
    )
    layer = writer.network.add_reduce(parts, writer.trt.ReduceOperation.SUM, mask, True)
    total = writer.layer(layer, "total")
    length = total if power == 1 else writer.unary(total, "SQRT", "length")
    return writer.elementwise(x, length, "DIV")


def _sum(writer: Writer, node: ir.Node, x: Tensor, role: str) -> Tensor:
    keep = node.attributes.get_int("keepdims", 1) != 0
    kind = writer.trt.ReduceOperation.SUM
    return writer.layer(writer.network.add_reduce(x, kind, axis_mask(writer, node, x), keep), role)
