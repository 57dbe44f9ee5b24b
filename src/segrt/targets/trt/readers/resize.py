"""Resizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import AttributeValue
from segrt.targets.trt.readers._base import Reader, reads

_MODES = {"NEAREST": "nearest", "LINEAR": "linear", "CUBIC": "cubic"}
_COORDINATES = {
    "ASYMMETRIC": "asymmetric",
    "HALF_PIXEL": "half_pixel",
    "ALIGN_CORNERS": "align_corners",
}
_ROUNDINGS = {
    "FLOOR": "floor",
    "CEIL": "ceil",
    "HALF_DOWN": "round_prefer_floor",
    "HALF_UP": "round_prefer_ceil",
}


@reads("RESIZE")
def resize(reader: Reader, layer: Any) -> ir.Value:
    """Read a resize with all its rules."""
    mode = _MODES[reader.enum(layer.resize_mode)]
    coordinates = _COORDINATES[reader.enum(layer.coordinate_transformation)]
    if reader.enum(layer.selector_for_single_pixel) == "UPPER":
        if coordinates != "half_pixel":
            raise reader.refuse(f"selector UPPER with {coordinates}", "half_pixel")
        coordinates = "pytorch_half_pixel"
    attributes: dict[str, AttributeValue] = {
        "mode": mode,
        "coordinate_transformation_mode": coordinates,
    }
    if mode == "nearest":
        attributes["nearest_mode"] = _ROUNDINGS[reader.enum(layer.nearest_rounding)]
    if mode == "cubic":
        attributes["cubic_coeff_a"] = float(layer.cubic_coeff)
        attributes["exclude_outside"] = int(layer.exclude_outside)
    x, sizes = reader.input(0), reader.optional(1)
    if sizes is None and layer.scales:
        scales = reader.floats("scales", np.array(layer.scales, np.float32))
        return reader.op("Resize", [x, None, scales], **attributes)
    if sizes is None:
        sizes = reader.ints(list(layer.shape))
    return reader.op("Resize", [x, None, None, sizes], **attributes)
