"""Max and average pooling of volumes."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.image_operations import VolumePool
from segrt.cuda.operations import Operation, Pool
from segrt.cuda.readers._base import VOLUMES, integer, integers, names_of
from segrt.cuda.readers.volumes._windows import sliding


@VOLUMES.register("MaxPool", "AveragePool")
def read_pool(node: ir.Node, layer: str) -> Operation | None:
    """Read either; one of single slices is a pool of images."""
    # The places of what is largest are not known.
    if len(node.outputs) != 1:
        return None
    way = sliding(node, integers(node, "kernel_shape", (1, 1, 1)))
    maximum = node.op_type == "MaxPool"
    counted = bool(integer(node, "count_include_pad", 0))
    alone = way.window[0] == way.stride[0] == 1 and way.before[0] == way.after[0] == 0
    if alone:
        stride, dilation, before, after = way.in_plane()
        window = (way.window[1], way.window[2])
        return Pool(
            layer, *names_of(node), window, stride, before, maximum, counted, after, dilation
        )
    return VolumePool(
        layer, *names_of(node), way.window, way.stride, way.before, maximum, counted,
        way.after, way.dilation,
    )  # fmt: skip
