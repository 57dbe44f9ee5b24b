"""A part of a tensor along one axis: ``x[..., start:stop]``, as grouped convolutions are cut."""

from __future__ import annotations

from segrt.importers.lambdas._base import lambda_form
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import single

_TO_THE_END = (1 << 63) - 1


@lambda_form("slice", axis=int, start=int, stop=int, step=int)
def cut(
    call: Call,
    x: Tensor,
    *,
    axis: int = -1,
    start: int = 0,
    stop: int = _TO_THE_END,
    step: int = 1,
) -> Tensor:
    """``x[..., start:stop:step]`` along an axis of Keras' order."""
    x = single(call, x)
    where = call.stored_axis(x, axis)
    if step < 1 or where == 0:
        raise call.unsupported("slice", (axis, step), "a step of 1 or more, not of the batch")
    parts = {"start": start, "stop": stop, "axis": where, "step": step}
    inputs = [call.ints(name, [value]) for name, value in parts.items()]
    return Tensor(call.op("Slice", [x.value, *inputs], role="slice"), x.layout)
