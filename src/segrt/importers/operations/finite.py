"""``nan_to_num``: numbers in the place of what is none, and of what is infinite."""

from __future__ import annotations

import numpy as np

from segrt.importers.layers._base import Call, Tensor
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import floats, number

_LARGEST = float(np.finfo(np.float32).max)


@operation("keras:NanToNum(x, nan=0.0, posinf=None, neginf=None)")
def nan_to_num(
    call: Call, x: Operand, nan: Operand, posinf: Operand = None, neginf: Operand = None
) -> Tensor:
    """Replace what is no number, and what is infinite by the largest numbers there are."""
    x = floats(call, x)
    above = _LARGEST if posinf is None else number(call, "posinf", posinf)
    below = -_LARGEST if neginf is None else number(call, "neginf", neginf)
    instead = call.scalar("nan", number(call, "nan", nan))
    value = call.op("Where", [call.op("IsNaN", [x.value], role="none"), instead, x.value], role="n")
    # Only an infinite number lies beyond the largest one.
    for op, edge, role in (("Greater", above, "above"), ("Less", below, "below")):
        bound = call.scalar(f"{role}_all", _LARGEST if op == "Greater" else -_LARGEST)
        beyond = call.op(op, [value, bound], role=role)
        value = call.op("Where", [beyond, call.scalar(f"{role}_by", edge), value], role=f"{role}_n")
    return Tensor(value, x.layout)
