"""Shape: the sizes of a tensor."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Shape")
def shape(writer: Writer, node: ir.Node) -> Tensor:
    """Write the sizes from ``start`` to ``end``."""
    x = writer.tensor(node.inputs[0])
    rank = len(x.shape)
    end = node.attributes.get_int("end", rank)
    taken = range(rank)[node.attributes.get_int("start", 0) : end]
    layer = writer.network.add_shape(x)
    if len(taken) == rank:
        return writer.layer(layer)
    sizes = writer.layer(layer, "all")
    return writer.layer(writer.network.add_slice(sizes, (taken.start,), (len(taken),), (1,)))
