"""CumSum: running sums."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("CumSum")
def cumulative_sum(writer: Writer, node: ir.Node) -> Tensor:
    """Write a running sum along an axis that is known."""
    x = writer.tensor(node.inputs[0])
    (axis,) = writer.required(node.inputs[1], "an axis").reshape(-1).tolist()
    if not hasattr(writer.network, "add_cumulative"):
        raise writer.unsupported("a running sum", "TensorRT 10.8 or newer")
    place = writer.constant(np.array(axis % len(x.shape), np.int32), f"{writer.name}:axis")
    layer = writer.network.add_cumulative(
        x,
        place,
        writer.trt.CumulativeOperation.SUM,
        bool(node.attributes.get_int("exclusive", 0)),
        bool(node.attributes.get_int("reverse", 0)),
    )
    return writer.layer(layer)
