"""Trilu: the upper or lower triangle of matrices, zeros elsewhere."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Size, Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Trilu")
def triangle(writer: Writer, node: ir.Node) -> Tensor:
    """Write a choice between a tensor and zero: zero times infinity would be no zero."""
    x = writer.tensor(node.inputs[0])
    rank = len(x.shape)
    moved = node.inputs[1] if len(node.inputs) > 1 else None
    diagonal = 0 if moved is None else int(writer.required(moved, "a diagonal").item())
    upper = bool(node.attributes.get_int("upper", 1))
    inside = _inside(writer, writer.sizes(x)[-2:], diagonal, upper=upper)
    zero = np.zeros((1,) * rank, writer.numpy_dtype(x))
    nothing = writer.constant(zero, f"{writer.name}:nothing", zero.dtype)
    return writer.layer(writer.network.add_select(writer.with_rank(inside, rank), x, nothing))


def _inside(writer: Writer, sizes: list[Size], diagonal: int, *, upper: bool) -> Tensor:
    """Return which entries of a matrix are kept, its number of axes two.

    ``j - i >= diagonal`` in the upper triangle, ``j - i <= diagonal`` in the lower one.
    """
    rows, columns = sizes
    if isinstance(rows, int) and isinstance(columns, int):
        apart = np.arange(columns) - np.arange(rows)[:, None]
        kept = apart >= diagonal if upper else apart <= diagonal
        return writer.constant(kept, f"{writer.name}:kept")
    layer = writer.network.add_fill((1, 1), writer.trt.FillOperation.LINSPACE, writer.trt.int64)
    if layer is not None:
        layer.set_input(0, writer.shape_tensor(sizes))
        layer.set_input(1, writer.constant(np.array(0, np.int64), f"{writer.name}:first"))
        layer.set_input(2, writer.constant(np.array([-1, 1], np.int64), f"{writer.name}:steps"))
    apart = writer.layer(layer, "apart")
    beyond = diagonal - 1 if upper else diagonal + 1
    bound = writer.constant(np.array([[beyond]], np.int64), f"{writer.name}:bound")
    return writer.elementwise(apart, bound, "GREATER" if upper else "LESS", "kept")
