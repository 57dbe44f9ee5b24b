"""Concat."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Concat")
def concatenation(writer: Writer, node: ir.Node) -> Tensor:
    """Write a concatenation; the axis is always set, its default depends on the rank."""
    tensors = [writer.tensor(value) for value in node.inputs]
    layer = writer.network.add_concatenation(tensors)
    if layer is not None:
        layer.axis = node.attributes.get_int("axis", 0) % len(tensors[0].shape)
    return writer.layer(layer)
