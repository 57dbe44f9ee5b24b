"""Padding of rows, columns and channels, of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.cuda.image_operations import GatherPixels
from segrt.cuda.readers._base import IMAGES, constant, names_of, text
from segrt.cuda.readers.images._tables import gather

_MODES = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


@IMAGES.register("Pad")
def read_padding(node: ir.Node, layer: str) -> GatherPixels | None:
    """Read constant, reflecting, repeating and wrapping padding; negative pads crop."""
    given: list[ir.Value | None] = [*node.inputs, None, None, None][1:4]
    pads = constant(given[0])
    value = np.zeros(()) if given[1] is None else constant(given[1])
    axes = np.arange(4) if given[2] is None else constant(given[2])
    source, mode = node.inputs[0], text(node, "mode", "constant")
    if pads is None or value is None or axes is None or source is None or source.shape is None:
        return None
    if mode != "constant" and mode not in _MODES:
        return None
    sizes = source.shape.numpy()
    tables: list[np.ndarray[Any, Any]] = [np.arange(size) for size in sizes]
    for axis, before, after in zip(axes % 4, *pads.reshape(2, -1), strict=True):
        edges = (max(0, int(before)), max(0, int(after)))
        if mode == "constant":
            padded = np.pad(tables[axis], edges, constant_values=-1)
        else:
            padded = np.pad(tables[axis], edges, mode=_MODES[mode])  # type: ignore[call-overload]
        tables[axis] = padded[max(0, -before) : len(padded) - max(0, -after)]
    return gather(layer, names_of(node), sizes, tables, float(value.reshape(-1)[0]))
