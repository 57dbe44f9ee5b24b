"""Softmax over one axis or several, with the mask it may be called with."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers.layers import _activation_functions as functions
from segrt.importers.layers import _attention, _config
from segrt.importers.layers._base import Call, Layout, Tensor, keras_layer
from segrt.importers.layers._inputs import single, wrong_input


@keras_layer("Softmax")
def softmax(call: Call, x: Tensor, mask: Any = None) -> Tensor:
    """Convert Softmax; masked values are put at -1e9 before."""
    x = single(call, x)
    axes = _config.integers(call, "axis", -1)
    if not axes or len({call.stored_axis(x, axis) for axis in axes}) != len(axes):
        raise call.unsupported("axis", axes, "axes that differ")
    mask = call.kwargs.get("mask") if mask is None else mask
    if mask is None:
        return Tensor(functions.softmax(call, x, axes), x.layout)
    allowed = _allowed(call, x, mask)
    x = Tensor(_attention.masked(call, call.source(x), [allowed]), Layout.SOURCE)
    value = functions.softmax(call, x, axes)
    return Tensor(_attention.nothing_masked(call, value, allowed), Layout.SOURCE)


def _allowed(call: Call, x: Tensor, mask: Any) -> ir.Value:
    """Return the mask as booleans that broadcast against Keras' own axis order."""
    if not isinstance(mask, Tensor):
        raise wrong_input(call, f"mask {mask!r}"[:80], "a tensor")
    value = call.source(mask)
    if value.dtype != ir.DataType.BOOL:
        # Between 0 and 1 the versions differ: some add a share of -1e9, some compare.
        call.remark("its mask is not boolean: taken as true above 0.5")
        value = call.op("Greater", [value, call.scalar("half", 0.5)], role="mask")
    if len(static_shape(value)) > x.rank:
        raise wrong_input(call, f"a mask of shape {mask.shape}", f"{x.rank} axes or fewer")
    return value
