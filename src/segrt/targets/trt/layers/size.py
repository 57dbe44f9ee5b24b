"""Size: how many elements a tensor has."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Size")
def size(writer: Writer, node: ir.Node) -> Tensor:
    """Write the product of the sizes; of no sizes it is one."""
    sizes = writer.layer(writer.network.add_shape(writer.tensor(node.inputs[0])), "sizes")
    kind = writer.trt.ReduceOperation.PROD
    return writer.layer(writer.network.add_reduce(sizes, kind, 1, False))
