"""Fills: numbers one after the other, or the same number everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.targets.trt.readers._base import Reader, reads
from segrt.targets.trt.readers.arithmetic import element_type


@reads("FILL")
def fill(reader: Reader, layer: Any) -> ir.Value:
    """Read ``alpha + sum(place[axis] * beta[axis])``, as tensors or as the layer holds them."""
    kind = reader.enum(layer.operation)
    if kind != "LINSPACE":
        raise reader.refuse(f"fill {kind}", "LINSPACE")
    dtype = element_type(reader, layer.get_output(0).dtype)
    sizes = reader.optional(0)
    sizes = reader.ints(list(layer.shape)) if sizes is None else reader.int64(sizes)
    rank = len(layer.get_output(0).shape)
    first = reader.optional(1)
    if first is None:
        first = reader.floats("alpha", np.array(layer.alpha, dtype.numpy()))
    steps = reader.optional(2)
    if steps is None:
        steps = reader.floats("beta", np.full((rank,), layer.beta, dtype.numpy()))
    result = reader.op("Expand", [first, sizes])
    for axis in range(rank):
        index = reader.whole(axis)
        count = reader.op("Gather", [sizes, index], axis=0)
        places = reader.op("Range", [reader.whole(0), count, reader.whole(1)])
        if dtype != ir.DataType.INT64:
            places = reader.op("Cast", [places], to=int(dtype))
        along = reader.op("Mul", [places, reader.op("Gather", [steps, index], axis=0)])
        behind = reader.ints(list(range(1, rank - axis)))
        if rank - axis > 1:
            along = reader.op("Unsqueeze", [along, behind])
        result = reader.op("Add", [result, along])
    return result
