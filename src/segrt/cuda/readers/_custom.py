"""The user's own operations."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.operations import Custom
from segrt.cuda.readers._base import constant
from segrt.graph import custom_nodes


def read_custom(node: ir.Node, layer: str) -> Custom | None:
    """Read a custom operation: each input an image or a constant, at least one an image."""
    arrays = [constant(value) for value in node.inputs]
    images = [value for value, array in zip(node.inputs, arrays, strict=True) if array is None]
    if not images or any(value is None or len(value.shape or ()) != 4 for value in images):
        return None
    return Custom(
        layer,
        tuple(str(value.name) for value in images if value is not None),
        node.outputs[0].name or "",
        custom_nodes.operation_of(node),
        custom_nodes.attributes_of(node),
        {index: array for index, array in enumerate(arrays) if array is not None},
    )
