"""Places that a network computes: of a pool's largest elements, and of what is put somewhere."""

from __future__ import annotations

import onnx_ir as ir

from segrt.cuda.operations import Operation, Pool
from segrt.cuda.readers._base import (
    TENSORS,
    constant,
    integer,
    integers,
    names_of,
    pair,
    text,
    window_padding,
)
from segrt.cuda.readers._tensors import axis_of, sizes_of
from segrt.cuda.tensor_operations import PoolPlaces, Scatter


@TENSORS.register("MaxPool")
def read_pool_places(node: ir.Node, layer: str) -> tuple[Operation, ...] | None:
    """Read a pool of images that also says where its largest elements are."""
    window = integers(node, "kernel_shape", ())
    if len(window) != 2 or integer(node, "storage_order", 0) or len(node.outputs) != 2:
        return None
    padding = window_padding(node)
    if padding is None or len(sizes_of(node.inputs[0])) != 4:
        return None
    names, output = names_of(node)
    stride = pair(integers(node, "strides", (1, 1)))
    dilation = pair(integers(node, "dilations", (1, 1)))
    before, after = padding
    slides = (pair(window), stride, before, dilation)
    pool = Pool(
        layer, names, output, pair(window), stride, before, maximum=True, count_padding=False,
        after=after, dilation=dilation,
    )  # fmt: skip
    return pool, PoolPlaces(layer, names, node.outputs[1].name or "", *slides)


@TENSORS.register("ScatterElements")
def read_scatter(node: ir.Node, layer: str) -> Scatter:
    """Read any reduction."""
    arrays = {index: constant(value) for index, value in enumerate(node.inputs)}
    constants = {index: array for index, array in arrays.items() if array is not None}
    names = tuple(
        value.name or ""
        for index, value in enumerate(node.inputs)
        if index not in constants and value is not None
    )
    axis = axis_of(integer(node, "axis", 0), len(sizes_of(node.inputs[0])))
    output = node.outputs[0].name or ""
    return Scatter(layer, names, output, axis, text(node, "reduction", "none"), constants)
