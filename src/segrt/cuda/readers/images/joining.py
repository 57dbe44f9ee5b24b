"""Concatenation of channels."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.operations import Join
from segrt.cuda.readers._base import IMAGES, constant, integer
from segrt.cuda.readers._tensors import axis_of, sizes_of


@IMAGES.register("Concat")
def read_join(node: ir.Node, layer: str) -> Join | None:
    """Read a concatenation whose parts are all computed."""
    if axis_of(integer(node, "axis", 0), len(sizes_of(node.outputs[0]))) != 1:
        return None
    names = tuple(value.name or "" for value in node.inputs if value is not None)
    if any(constant(value) is not None for value in node.inputs):
        return None
    return Join(layer, names, node.outputs[0].name or "")
