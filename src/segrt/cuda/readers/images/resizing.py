"""Upsampling by whole factors."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.operations import Upsample
from segrt.cuda.readers._base import IMAGES, names_of, text


@IMAGES.register("Resize")
def read_resize(node: ir.Node, layer: str) -> Upsample | None:
    """Read nearest and bilinear ones."""
    names, output = names_of(node)
    source, target = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or target.shape is None:
        return None
    before, after = source.shape.numpy(), target.shape.numpy()
    factors = (after[2] // before[2], after[3] // before[3])
    whole = (before[2] * factors[0], before[3] * factors[1]) == tuple(after[2:])
    transform = text(node, "coordinate_transformation_mode", "half_pixel")
    mode, rounding = text(node, "mode", "nearest"), text(node, "nearest_mode", "")
    if not whole or before[:2] != after[:2]:
        return None
    if mode == "nearest" and transform == "asymmetric" and rounding == "floor":
        return Upsample(layer, names, output, factors, "nearest")
    if mode == "linear" and transform == "half_pixel":
        return Upsample(layer, names, output, factors, "bilinear")
    return None
