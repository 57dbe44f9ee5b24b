"""Parts of images: crops, strides, flips, choices and splits of channels, rows and columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.cuda.image_operations import GatherPixels
from segrt.cuda.readers._base import IMAGES, constant, integer, names_of
from segrt.cuda.readers.images._tables import gather


@IMAGES.register("Slice")
def read_slice(node: ir.Node, layer: str) -> GatherPixels | None:
    """Read constant bounds and steps."""
    source, parts = node.inputs[0], [constant(value) for value in node.inputs[1:]]
    if source is None or source.shape is None or len(parts) < 2:
        return None
    starts, ends = parts[:2]
    if starts is None or ends is None:
        return None
    axes = np.arange(len(starts)) if len(parts) < 3 or node.inputs[3] is None else parts[2]
    steps = np.ones(len(starts), int) if len(parts) < 4 or node.inputs[4] is None else parts[3]
    if axes is None or steps is None:
        return None
    tables = _whole(source.shape.numpy())
    for axis, start, end, step in zip(axes % 4, starts, ends, steps, strict=True):
        size = len(tables[axis])
        # Backwards, what lies before the first place is -size - 1 to ONNX, and None to Python.
        last = None if step < 0 and end < -size else int(end)
        tables[axis] = tables[axis][int(start) : last : int(step)]
    return gather(layer, names_of(node), source.shape.numpy(), tables)


@IMAGES.register("Gather")
def read_choice(node: ir.Node, layer: str) -> GatherPixels | None:
    """Read a constant choice of places along an axis."""
    source, places = node.inputs[0], constant(node.inputs[1])
    if source is None or source.shape is None or places is None or places.ndim != 1:
        return None
    tables, axis = _whole(source.shape.numpy()), integer(node, "axis", 0) % 4
    tables[axis] = tables[axis][places]
    return gather(layer, names_of(node), source.shape.numpy(), tables)


@IMAGES.register("Split")
def read_split(node: ir.Node, layer: str) -> tuple[GatherPixels, ...] | None:
    """Read pieces as their sizes say."""
    source, axis = node.inputs[0], integer(node, "axis", 0) % 4
    if source is None or source.shape is None:
        return None
    found: list[GatherPixels] = []
    begin = 0
    for output in node.outputs:
        if output.shape is None:
            return None
        tables, size = _whole(source.shape.numpy()), int(output.shape.numpy()[axis])
        tables[axis] = tables[axis][begin : begin + size]
        begin += size
        names = (names_of(node)[0], output.name or "")
        piece = gather(layer, names, source.shape.numpy(), tables)
        if piece is None:
            return None
        found.append(piece)
    return tuple(found)


def _whole(sizes: tuple[int, ...]) -> list[np.ndarray[Any, Any]]:
    return [np.arange(size) for size in sizes]
