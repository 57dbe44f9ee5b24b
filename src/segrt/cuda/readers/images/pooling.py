"""Max and average pooling."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.operations import Pool
from segrt.cuda.readers._base import IMAGES, integer, integers, names_of, pair, window_padding


@IMAGES.register("MaxPool", "AveragePool")
def read_pool(node: ir.Node, layer: str) -> Pool | None:
    """Read either; how far the last windows reach follows from the sizes."""
    names, output = names_of(node)
    padding = window_padding(node)
    # The places of what is largest are not known.
    if padding is None or len(node.outputs) != 1:
        return None
    return Pool(
        layer,
        names,
        output,
        pair(integers(node, "kernel_shape", (1, 1))),
        pair(integers(node, "strides", (1, 1))),
        padding[0],
        node.op_type == "MaxPool",
        bool(integer(node, "count_include_pad", 0)),
        padding[1],
        pair(integers(node, "dilations", (1, 1))),
    )
