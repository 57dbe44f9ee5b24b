"""Other sizes for the same elements."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.readers._base import TENSORS, names_of
from segrt.cuda.tensor_operations import Reshape


@TENSORS.register("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout")
def read_reshape(node: ir.Node, layer: str) -> Reshape | None:
    """Read what leaves the elements and their order as they are."""
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    return Reshape(layer, *names_of(node))
