"""Depth to space."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.operations import Shuffle
from segrt.cuda.readers._base import IMAGES, integer, names_of, text


@IMAGES.register("DepthToSpace")
def read_shuffle(node: ir.Node, layer: str) -> Shuffle:
    """Read either order of phases."""
    names, output = names_of(node)
    phase_first = text(node, "mode", "DCR") == "DCR"
    return Shuffle(layer, names, output, integer(node, "blocksize", 1), phase_first)
