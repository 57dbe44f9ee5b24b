"""Transposes at the ends of a graph: the order of an image's axes as it comes and goes."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.operations import Export, Import, Operation
from segrt.cuda.readers._base import IMAGES, integers, names_of

_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


@IMAGES.register("Transpose")
def read_transpose(node: ir.Node, layer: str) -> Operation | None:
    """Read what is done on the way in or out."""
    names, output = names_of(node)
    perm, value = integers(node, "perm", ()), node.inputs[0]
    if perm == _TO_FIRST and value is not None and value.is_graph_input():
        return Import(layer, names, output, channels_first=False)
    # Whoever reads it within the graph wants it in the graph's order, too.
    if perm == _TO_LAST and node.outputs[0].is_graph_output() and not node.outputs[0].uses():
        return Export(layer, names, output, channels_first=False)
    return None
