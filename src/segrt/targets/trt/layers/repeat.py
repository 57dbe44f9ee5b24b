"""Tile: a tensor beside itself."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts

# Each repetition is an input of a concatenation.
_MOST = 64


@converts("Tile")
def tile(writer: Writer, node: ir.Node) -> Tensor:
    """Write a concatenation of the tensor with itself for every axis that is repeated."""
    x = writer.tensor(node.inputs[0])
    counts = writer.ints(node.inputs[1])
    if counts is None:
        raise writer.unsupported("repetitions computed at run time", "constants")
    if max(counts) > _MOST:
        raise writer.unsupported(f"{max(counts)} repetitions", f"{_MOST} at most")
    repeated = [axis for axis, count in enumerate(counts) if count != 1]
    if not repeated:
        return writer.layer(writer.network.add_identity(x))
    for axis in repeated:
        layer = writer.network.add_concatenation([x] * counts[axis])
        layer.axis = axis
        x = writer.layer(layer, "" if axis == repeated[-1] else f"axis{axis}")
    return x
