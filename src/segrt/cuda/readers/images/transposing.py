"""Transposes at the ends of a graph: the order of an image's axes as it comes and goes."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.operations import Export, Import, Operation
from segrt.cuda.readers._base import IMAGES, integers, names_of


@IMAGES.register("Transpose")
def read_transpose(node: ir.Node, layer: str) -> Operation | None:
    """Read what is done on the way in or out."""
    names, output = names_of(node)
    perm, value = integers(node, "perm", ()), node.inputs[0]
    space = tuple(range(1, len(perm) - 1))
    if perm == (0, len(perm) - 1, *space) and value is not None and value.is_graph_input():
        return Import(layer, names, output, channels_first=False)
    to_last = perm == (0, *(axis + 1 for axis in space), 1)
    # Whoever reads it within the graph wants it in the graph's order, too.
    if to_last and node.outputs[0].is_graph_output() and not node.outputs[0].uses():
        return Export(layer, names, output, channels_first=False)
    return None
