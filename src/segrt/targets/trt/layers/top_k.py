"""The largest or smallest elements along an axis, and where they are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("ArgMax", "ArgMin")
def index_of_best(writer: Writer, node: ir.Node) -> Tensor:
    """Write the first of the top one's index."""
    if node.attributes.get_int("select_last_index", 0):
        raise writer.unsupported("select_last_index", "the first")
    x = writer.tensor(node.inputs[0])
    axis = node.attributes.get_int("axis", 0) % len(x.shape)
    _, index = _best(writer, x, axis, 1, largest=node.op_type == "ArgMax")
    if node.attributes.get_int("keepdims", 1):
        return writer.layer(writer.network.add_identity(index))
    sizes = writer.sizes(x)
    return writer.reshape(index, [size for place, size in enumerate(sizes) if place != axis])


@converts("TopK")
def top_k(writer: Writer, node: ir.Node) -> tuple[Tensor, Tensor]:
    """Write the k best, sorted as TensorRT always does."""
    x = writer.tensor(node.inputs[0])
    count = writer.ints(node.inputs[1])
    if count is None:
        raise writer.unsupported("k computed at run time", "a constant")
    largest = bool(node.attributes.get_int("largest", 1))
    axis = node.attributes.get_int("axis", -1) % len(x.shape)
    values, index = _best(writer, x, axis, count[0], largest=largest)
    best = writer.layer(writer.network.add_identity(values))
    return best, writer.layer(writer.network.add_identity(index), "places")


def _best(
    writer: Writer, x: Tensor, axis: int, count: int, *, largest: bool
) -> tuple[Tensor, Tensor]:
    """Return the best values and, as ONNX has them, int64 indices."""
    kinds = writer.trt.TopKOperation
    top = writer.network.add_topk(x, kinds.MAX if largest else kinds.MIN, count, 1 << axis)
    values = writer.layer(top, "best")
    index = top.get_output(1)
    index.name = f"{writer.name}:index"
    return values, writer.cast(index, writer.dtype(np.int64), "int64")
