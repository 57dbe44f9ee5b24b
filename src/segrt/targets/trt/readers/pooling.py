"""Pools and reductions."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.targets.trt.readers._base import Reader, reads
from segrt.targets.trt.readers._window import padding

_REDUCTIONS = {
    "AVG": "ReduceMean", "MAX": "ReduceMax", "MIN": "ReduceMin", "PROD": "ReduceProd",
    "SUM": "ReduceSum",
}  # fmt: skip


@reads("POOLING")
def pool(reader: Reader, layer: Any) -> ir.Value:
    """Read a pool."""
    size = list(layer.window_size_nd)
    attributes = padding(reader, layer, size)
    # As an IPoolingLayer, `type` is the kind of pool.
    kind = reader.enum(layer.type)
    if kind == "AVERAGE":
        attributes["count_include_pad"] = int(not layer.average_count_excludes_padding)
    elif kind != "MAX":
        raise reader.refuse(f"pool {kind}", "MAX or AVERAGE")
    return reader.op(
        "MaxPool" if kind == "MAX" else "AveragePool",
        [reader.input(0)],
        kernel_shape=size,
        strides=list(layer.stride_nd),
        **attributes,
    )


@reads("REDUCE")
def reduce(reader: Reader, layer: Any) -> ir.Value:
    """Read a reduction."""
    kind = reader.enum(layer.op)
    if kind not in _REDUCTIONS:
        raise reader.refuse(f"reduction {kind}", ", ".join(_REDUCTIONS))
    axes = reader.ints(reader.axes(layer.axes))
    return reader.op(_REDUCTIONS[kind], [reader.input(0), axes], keepdims=int(layer.keep_dims))


@reads("TOPK")
def top_k(reader: Reader, layer: Any) -> ir.Value:
    """Read the largest (or smallest) entries and their places."""
    axes, count = reader.axes(layer.axes), reader.optional(1)
    if count is not None:
        wide = reader.op("Cast", [count], to=int(ir.DataType.INT64))
        count = reader.op("Reshape", [wide, reader.ints([1])])
    values = reader.builder.ops(
        "TopK",
        [reader.input(0), reader.ints([layer.k]) if count is None else count],
        name=f"{layer.name}~topk",
        outputs=2,
        axis=axes[0],
        largest=int(reader.enum(layer.op) == "MAX"),
    )
    index = layer.get_output(1)
    if index is not None:
        wide = index.dtype == reader.trt.int64
        to = ir.DataType.INT64 if wide else ir.DataType.INT32
        reader.values[index.name] = reader.op("Cast", [values[1]], to=int(to))
    return values[0]
