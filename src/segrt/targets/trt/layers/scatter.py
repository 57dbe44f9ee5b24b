"""ScatterElements and ScatterND: a tensor with some entries overwritten."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("ScatterElements", "ScatterND")
def scatter(writer: Writer, node: ir.Node) -> Tensor:
    """Write a scatter; TensorRT overwrites only, so what is added up is refused."""
    reduction = node.attributes.get_string("reduction", "none")
    if reduction != "none":
        raise writer.unsupported(f"reduction {reduction}", "none: TensorRT only overwrites")
    x, places, updates = (writer.tensor(value) for value in node.inputs[:3])
    modes = writer.trt.ScatterMode
    elements = node.op_type == "ScatterElements"
    layer = writer.network.add_scatter(x, places, updates, modes.ELEMENT if elements else modes.ND)
    if layer is not None and elements:
        layer.axis = node.attributes.get_int("axis", 0) % len(x.shape)
    return writer.layer(layer)
