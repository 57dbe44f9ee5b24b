"""Reductions and the index of the largest element."""

from __future__ import annotations

import numpy as np
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
    rank = len(x.shape)
    axes = writer.ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None:
        axes = list(node.attributes.get_ints("axes", []))
    if not axes and node.attributes.get_int("noop_with_empty_axes", False):
        return writer.layer(writer.network.add_identity(x))
    mask = sum(1 << (axis % rank) for axis in axes or range(rank))
    kind = getattr(writer.trt.ReduceOperation, _KINDS[node.op_type])
    keep = node.attributes.get_int("keepdims", 1) != 0
    return writer.layer(writer.network.add_reduce(x, kind, mask, keep))


@converts("ArgMax")
def arg_max(writer: Writer, node: ir.Node) -> Tensor:
    """Write the first of the top one's index."""
    if node.attributes.get_int("select_last_index", 0):
        raise writer.unsupported("select_last_index", "the first")
    x = writer.tensor(node.inputs[0])
    axis = node.attributes.get_int("axis", 0) % len(x.shape)
    top = writer.network.add_topk(x, writer.trt.TopKOperation.MAX, 1, 1 << axis)
    writer.layer(top, "largest")
    index = top.get_output(1)
    index.name = f"{writer.name}:index"
    index = writer.cast(index, writer.dtype(np.int64), "int64")
    if node.attributes.get_int("keepdims", 1):
        return writer.layer(writer.network.add_identity(index))
    sizes = writer.sizes(x)
    return writer.reshape(index, [size for place, size in enumerate(sizes) if place != axis])
