"""Max and average pooling."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.operations import Pool
from segrt.cuda.readers._base import IMAGES, integer, integers, names_of, pair, window_padding


@IMAGES.register("MaxPool", "AveragePool")
def read_pool(node: ir.Node, layer: str) -> Pool | None:
    """Read either."""
    names, output = names_of(node)
    padding = window_padding(node)
    window = pair(integers(node, "kernel_shape", (1, 1)))
    plain = integers(node, "dilations", (1, 1)) == (1, 1) and len(node.outputs) == 1
    counts = bool(integer(node, "count_include_pad", 0))
    # With both, the last window's size depends on how far it overhangs.
    if padding is None or not plain or (counts and integer(node, "ceil_mode", 0)):
        return None
    stride = pair(integers(node, "strides", (1, 1)))
    maximum = node.op_type == "MaxPool"
    return Pool(layer, names, output, window, stride, padding[0], maximum, counts)
