"""Softmax over channels."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Chain
from segrt.cuda.readers._base import IMAGES, integer, names_of


@IMAGES.register("Softmax")
def read_softmax(node: ir.Node, layer: str) -> Chain | None:
    """Read it as a step, for a head to take."""
    if integer(node, "axis", -1) not in (1, -3):
        return None
    return Chain(layer, *names_of(node), (Step("softmax"),))
