"""Each element several times in a row, as attention gates widen a map of one channel."""

from __future__ import annotations

import numpy as np

from segrt.importers.lambdas._base import lambda_form
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import single, wrong_input


@lambda_form("repeat", repnum=int, axis=int)
def repeat(call: Call, x: Tensor, *, repnum: int, axis: int = -1) -> Tensor:
    """`K.repeat_elements`, along one axis; published gates call the number ``repnum``."""
    x = single(call, x)
    where = call.stored_axis(x, axis)
    size = x.shape[axis]
    if repnum < 1 or where == 0:
        raise call.unsupported("repeat", (repnum, axis), "1 or more times, not of the batch")
    if size is None:
        raise wrong_input(call, f"an axis {axis} of unknown size", "a known size")
    rows = call.constant("rows", np.arange(size).repeat(repnum))
    return Tensor(call.op("Gather", [x.value, rows], role="repeated", axis=where), x.layout)
