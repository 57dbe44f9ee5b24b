"""Softmax over channels."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.image_operations import Softmax
from segrt.cuda.readers._base import IMAGES, integer, names_of


@IMAGES.register("Softmax", "LogSoftmax")
def read_softmax(node: ir.Node, layer: str) -> Softmax | None:
    """Read either, over channels."""
    if integer(node, "axis", -1) not in (1, -3):
        return None
    return Softmax(layer, *names_of(node), node.op_type == "LogSoftmax")
