"""Images read at given places, running sums, and sums by letters."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.targets.trt.readers._base import Reader, reads

_MODES = {"LINEAR": "bilinear", "NEAREST": "nearest", "CUBIC": "bicubic"}
_BORDERS = {"FILL": "zeros", "CLAMP": "border", "REFLECT": "reflection"}


@reads("GRID_SAMPLE")
def grid_sample(reader: Reader, layer: Any) -> ir.Value:
    """Read a sampling."""
    mode, border = reader.enum(layer.interpolation_mode), reader.enum(layer.sample_mode)
    if mode not in _MODES or border not in _BORDERS:
        raise reader.refuse(f"{mode}, {border}", ", ".join((*_MODES, *_BORDERS)))
    return reader.op(
        "GridSample",
        [reader.input(0), reader.input(1)],
        mode=_MODES[mode],
        padding_mode=_BORDERS[border],
        align_corners=int(layer.align_corners),
    )


@reads("CUMULATIVE")
def cumulative(reader: Reader, layer: Any) -> ir.Value:
    """Read a running sum."""
    kind = reader.enum(layer.op)
    if kind != "SUM":
        raise reader.refuse(f"running {kind}", "SUM")
    return reader.op(
        "CumSum",
        [reader.input(0), reader.input(1)],
        exclusive=int(layer.exclusive),
        reverse=int(layer.reverse),
    )


@reads("EINSUM")
def einsum(reader: Reader, layer: Any) -> ir.Value:
    """Read a sum by letters."""
    inputs = [reader.input(index) for index in range(layer.num_inputs)]
    return reader.op("Einsum", inputs, equation=str(layer.equation))
