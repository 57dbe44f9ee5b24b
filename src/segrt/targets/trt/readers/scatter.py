"""Scatters: a tensor with some entries overwritten."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.targets.trt.readers._base import Reader, reads


@reads("SCATTER")
def scatter(reader: Reader, layer: Any) -> ir.Value:
    """Read a scatter, of elements or of parts."""
    x, places, updates = reader.input(0), reader.int64(reader.input(1)), reader.input(2)
    mode = reader.enum(layer.mode)
    if mode == "ND":
        return reader.op("ScatterND", [x, places, updates])
    if mode != "ELEMENT":
        raise reader.refuse(f"scatter mode {mode}", "ELEMENT or ND")
    return reader.op("ScatterElements", [x, places, updates], axis=layer.axis)
