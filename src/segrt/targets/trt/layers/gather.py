"""Gather, GatherElements, GatherND and OneHot: what is chosen by index."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Size, Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Gather")
def gather(writer: Writer, node: ir.Node) -> Tensor:
    """Write a choice of entries along an axis."""
    x = writer.tensor(node.inputs[0])
    axis = node.attributes.get_int("axis", 0) % len(x.shape)
    return writer.layer(writer.network.add_gather(x, writer.tensor(node.inputs[1]), axis))


@converts("GatherElements")
def gather_elements(writer: Writer, node: ir.Node) -> Tensor:
    """Write a choice of one entry for each index."""
    x, indices = (writer.tensor(value) for value in node.inputs[:2])
    layer = writer.network.add_gather_v2(x, indices, writer.trt.GatherMode.ELEMENT)
    if layer is not None:
        layer.axis = node.attributes.get_int("axis", 0) % len(x.shape)
    return writer.layer(layer)


@converts("GatherND")
def gather_nd(writer: Writer, node: ir.Node) -> Tensor:
    """Write a choice of parts by the leading axes' indices."""
    x, indices = (writer.tensor(value) for value in node.inputs[:2])
    layer = writer.network.add_gather_v2(x, indices, writer.trt.GatherMode.ND)
    if layer is not None:
        layer.num_elementwise_dims = node.attributes.get_int("batch_dims", 0)
    return writer.layer(layer)


@converts("OneHot")
def one_hot(writer: Writer, node: ir.Node) -> Tensor:
    """Write a comparison of each index with all classes; -1 is the last class."""
    indices = writer.tensor(node.inputs[0])
    if np.issubdtype(writer.numpy_dtype(indices), np.floating):
        raise writer.unsupported("indices that are floats", "integers")
    depth = int(writer.required(node.inputs[1], "a depth").reshape(-1)[0])
    off, on = writer.required(node.inputs[2], "the two values").reshape(-1)
    rank = len(indices.shape) + 1
    axis = node.attributes.get_int("axis", -1) % rank
    sizes: list[Size] = writer.sizes(indices)
    column = writer.reshape(indices, [*sizes[:axis], 1, *sizes[axis:]], "column")
    shape = [depth if place == axis else 1 for place in range(rank)]
    found = []
    for name, first in (("classes", 0), ("from the end", -depth)):
        numbers = np.arange(first, first + depth).astype(writer.numpy_dtype(indices))
        row = writer.constant(numbers.reshape(shape), f"{writer.name}:{name}")
        found.append(writer.elementwise(column, row, "EQUAL", f"is of {name}"))
    hit = writer.elementwise(found[0], found[1], "OR", "hit")
    values = [
        writer.constant(np.full((1,) * rank, value), f"{writer.name}:{name}")
        for name, value in (("on", on), ("off", off))
    ]
    return writer.layer(writer.network.add_select(hit, *values))
