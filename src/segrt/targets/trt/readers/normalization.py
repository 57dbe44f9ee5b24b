"""Scales and normalizations, spelled out in arithmetic."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.targets.trt.readers._base import Array, Reader, reads


@reads("SCALE")
def scale(reader: Reader, layer: Any) -> ir.Value:
    """Read ``(x * scale + shift) ** power``."""
    x = reader.input(0)
    rank = len(x.shape or ())
    mode, axis = reader.enum(layer.mode), layer.channel_axis
    for held, name, op in (
        (layer.scale, "scale", "Mul"),
        (layer.shift, "shift", "Add"),
        (layer.power, "power", "Pow"),
    ):
        if held.size:
            array = _shaped(reader, reader.weights(held, (-1,)), mode, axis, rank)
            x = reader.op(op, [x, reader.floats(name, array)])
    return x


def _shaped(reader: Reader, array: Array, mode: str, axis: int, rank: int) -> Array:
    if mode == "UNIFORM":
        return array.reshape(())
    if mode != "CHANNEL":
        raise reader.refuse(f"scale mode {mode}", "UNIFORM or CHANNEL")
    shape = [1] * rank
    shape[axis] = -1
    return array.reshape(shape)


@reads("NORMALIZATION")
def normalization(reader: Reader, layer: Any) -> ir.Value:
    """Read ``(x - mean) / sqrt(variance + epsilon) * scale + bias``.

    With groups, the channels of a group and the given axes are normalized together.
    """
    x = reader.input(0)
    axes, groups = reader.axes(layer.axes), layer.num_groups
    grouped = groups > 1
    y, over = x, axes
    if grouped:
        # (N, G, rest): what a group shares lies in one axis, also where sizes are free.
        y, over = reader.op("Reshape", [x, reader.ints([0, groups, -1])]), [2]
        if axes != list(range(2, len(x.shape or ()))):
            raise reader.refuse(f"groups with axes {axes}", "all axes behind the channels")
    along = reader.ints(over)
    centred = reader.op("Sub", [y, reader.op("ReduceMean", [y, along], keepdims=1)])
    variance = reader.op("ReduceMean", [reader.op("Mul", [centred, centred]), along], keepdims=1)
    padded = reader.op("Add", [variance, reader.scalar(layer.epsilon)])
    y = reader.op("Div", [centred, reader.op("Sqrt", [padded])])
    if grouped:
        y = reader.op("Reshape", [y, reader.op("Shape", [x])])
    # Version 1 of the layer has one scale a group, of which only neutral ones can be told apart.
    factor, offset = reader.input(1), reader.input(2)
    return reader.op("Add", [reader.op("Mul", [y, factor]), offset])
