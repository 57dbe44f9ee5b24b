"""Changes of element type that change no number: kernels read every type as floats anyway."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Chain
from segrt.cuda.readers._base import IMAGES, integer, names_of


@IMAGES.register("Cast")
def read_cast(node: ir.Node, layer: str) -> Chain | None:
    """Read one to floats, or of numbers that are whole already."""
    source = node.inputs[0]
    if source is None or source.dtype is None:
        return None
    whole = source.dtype.is_integer() or source.dtype == ir.DataType.BOOL
    to = ir.DataType(integer(node, "to", 1))
    if to == ir.DataType.BOOL or not (whole or to.is_floating_point()):
        return None
    return Chain(layer, *names_of(node), (Step("identity"),))
