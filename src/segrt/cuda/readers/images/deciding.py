"""Which channel is the largest."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.image_operations import Decide
from segrt.cuda.readers._base import IMAGES, integer, names_of


@IMAGES.register("ArgMax", "ArgMin")
def read_decision(node: ir.Node, layer: str) -> Decide | None:
    """Read either, over channels."""
    if integer(node, "axis", 0) not in (1, -3):
        return None
    minimum, last = node.op_type == "ArgMin", bool(integer(node, "select_last_index", 0))
    return Decide(layer, *names_of(node), minimum, last)
