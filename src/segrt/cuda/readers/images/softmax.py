"""Softmax over channels."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.image_operations import Softmax
from segrt.cuda.readers._base import IMAGES, integer, names_of
from segrt.cuda.readers._tensors import axis_of, sizes_of


@IMAGES.register("Softmax", "LogSoftmax")
def read_softmax(node: ir.Node, layer: str) -> Softmax | None:
    """Read either, over channels."""
    if axis_of(integer(node, "axis", -1), len(sizes_of(node.outputs[0]))) != 1:
        return None
    return Softmax(layer, *names_of(node), node.op_type == "LogSoftmax")
