"""GridSample: an image read at given places."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts

# Opset 16 says bilinear and bicubic, opset 20 linear and cubic.
_MODES = {
    "bilinear": "LINEAR", "linear": "LINEAR", "nearest": "NEAREST", "bicubic": "CUBIC",
    "cubic": "CUBIC",
}  # fmt: skip
_BORDERS = {"zeros": "FILL", "border": "CLAMP", "reflection": "REFLECT"}


@converts("GridSample")
def grid_sample(writer: Writer, node: ir.Node) -> Tensor:
    """Write a sampling; every rule is set."""
    mode = node.attributes.get_string("mode", "bilinear")
    border = node.attributes.get_string("padding_mode", "zeros")
    if mode not in _MODES or border not in _BORDERS:
        raise writer.unsupported(f"{mode}, {border}", ", ".join((*_MODES, *_BORDERS)))
    x, grid = (writer.tensor(value) for value in node.inputs[:2])
    layer = writer.network.add_grid_sample(x, grid)
    if layer is not None:
        layer.interpolation_mode = getattr(writer.trt.InterpolationMode, _MODES[mode])
        layer.sample_mode = getattr(writer.trt.SampleMode, _BORDERS[border])
        layer.align_corners = bool(node.attributes.get_int("align_corners", 0))
    return writer.layer(layer)
