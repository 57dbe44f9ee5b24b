"""Tile: a tensor beside itself."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Size, Tensor, Writer
from segrt.targets.trt.layers._base import converts
from segrt.targets.trt.layers._entries import entries

# Each repetition is an input of a concatenation.
_MOST = 64


@converts("Tile")
def tile(writer: Writer, node: ir.Node) -> Tensor:
    """Write a concatenation of the tensor with itself for every axis that is repeated.

    Computed counts are a slice that begins again at the end.
    """
    x = writer.tensor(node.inputs[0])
    counts = writer.ints(node.inputs[1])
    if counts is None:
        return _wrapped(writer, x, entries(writer, node.inputs[1], "count"))
    if max(counts) > _MOST:
        raise writer.unsupported(f"{max(counts)} repetitions", f"{_MOST} at most")
    repeated = [axis for axis, count in enumerate(counts) if count != 1]
    if not repeated:
        return writer.layer(writer.network.add_identity(x))
    for axis in repeated:
        layer = writer.network.add_concatenation([x] * counts[axis])
        layer.axis = axis
        x = writer.layer(layer, "" if axis == repeated[-1] else f"axis{axis}")
    return x


def _wrapped(writer: Writer, x: Tensor, counts: list[Size]) -> Tensor:
    sizes = [
        writer.combine(size, count, "PROD")
        for size, count in zip(writer.sizes(x), counts, strict=True)
    ]
    rank = len(counts)
    layer = writer.network.add_slice(x, [0] * rank, [1] * rank, [1] * rank)
    layer.set_input(2, writer.shape_tensor(sizes))
    layer.mode = writer.trt.SampleMode.WRAP
    return writer.layer(layer)
