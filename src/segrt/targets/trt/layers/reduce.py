"""Reductions."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts

_KINDS = {
    "ReduceMax": "MAX",
    "ReduceMean": "AVG",
    "ReduceMin": "MIN",
    "ReduceProd": "PROD",
    "ReduceSum": "SUM",
}


@converts(*_KINDS)
def reduce(writer: Writer, node: ir.Node) -> Tensor:
    """Write a reduction; axes are a bit mask, batch included."""
    x = writer.tensor(node.inputs[0])
    if not _axes(writer, node) and node.attributes.get_int("noop_with_empty_axes", False):
        return writer.layer(writer.network.add_identity(x))
    mask = axis_mask(writer, node, x)
    kind = getattr(writer.trt.ReduceOperation, _KINDS[node.op_type])
    keep = node.attributes.get_int("keepdims", 1) != 0
    return writer.layer(writer.network.add_reduce(x, kind, mask, keep))


def axis_mask(writer: Writer, node: ir.Node, x: Tensor) -> int:
    """Return the axes that a reduction is over as a bit mask; none given means all."""
    rank, axes = len(x.shape), _axes(writer, node)
    if not axes and node.attributes.get_int("noop_with_empty_axes", False):
        raise writer.unsupported("no axes", "at least one")
    return sum(1 << (axis % rank) for axis in axes or range(rank))


def _axes(writer: Writer, node: ir.Node) -> list[int]:
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is None:
        return list(node.attributes.get_ints("axes", []))
    axes = writer.ints(given)
    if axes is None:
        raise writer.unsupported("axes computed at run time", "constants")
    return axes
