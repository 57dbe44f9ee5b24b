"""Which channel is the largest."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.image_operations import Decide
from segrt.cuda.readers._base import IMAGES, integer, names_of
from segrt.cuda.readers._tensors import axis_of, sizes_of


@IMAGES.register("ArgMax", "ArgMin")
def read_decision(node: ir.Node, layer: str) -> Decide | None:
    """Read either, over channels."""
    if axis_of(integer(node, "axis", 0), len(sizes_of(node.outputs[0]))) != 1:
        return None
    minimum, last = node.op_type == "ArgMin", bool(integer(node, "select_last_index", 0))
    return Decide(layer, *names_of(node), minimum, last)
