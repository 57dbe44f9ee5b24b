"""Range: numbers one after the other."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Range")
def range_(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``start + i * step`` for whole numbers; how many there are may be computed."""
    start, limit, step = (writer.tensor(value) for value in node.inputs[:3])
    if not np.issubdtype(writer.numpy_dtype(start), np.integer):
        raise writer.unsupported("a range of floats", "whole numbers")
    length = writer.elementwise(limit, start, "SUB", "length")
    # Rounded up: -(-length // step).
    back = writer.unary(length, "NEG", "back")
    count = writer.unary(writer.elementwise(back, step, "FLOOR_DIV", "less"), "NEG", "count")
    none = writer.constant(np.zeros((), writer.numpy_dtype(start)), f"{writer.name}:none")
    count = writer.elementwise(count, none, "MAX", "at least none")
    count = writer.cast(count, writer.dtype(np.int64), "wide")
    kinds = writer.trt.FillOperation
    layer = writer.network.add_fill((1,), kinds.LINSPACE, start.dtype)
    if layer is not None:
        layer.set_input(0, writer.reshape(count, [1], "size"))
        layer.set_input(1, start)
        layer.set_input(2, writer.reshape(step, [1], "step"))
    return writer.layer(layer)
