"""One pixel from all: global pools, and reductions over rows and columns."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.cuda.image_operations import GlobalPool
from segrt.cuda.kernels.global_pooling import Kind
from segrt.cuda.readers._base import IMAGES, constant, integer, names_of

_POOLS: dict[str, Kind] = {"GlobalAveragePool": "mean", "GlobalMaxPool": "max"}
_REDUCTIONS: dict[str, Kind] = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min",
}  # fmt: skip


@IMAGES.register(*_POOLS)
def read_global_pool(node: ir.Node, layer: str) -> GlobalPool:
    """Read either."""
    return GlobalPool(layer, *names_of(node), _POOLS[node.op_type])


@IMAGES.register(*_REDUCTIONS)
def read_reduction(node: ir.Node, layer: str) -> GlobalPool | None:
    """Read one over rows and columns that keeps the axes."""
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or not integer(node, "keepdims", 1):
        return None
    if sorted(np.asarray(axes).reshape(-1) % 4) != [2, 3]:
        return None
    return GlobalPool(layer, *names_of(node), _REDUCTIONS[node.op_type])
