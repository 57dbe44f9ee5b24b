"""Reductions over axes of Keras' order; by default over height and width."""

from __future__ import annotations

from collections.abc import Sequence

from segrt.importers.lambdas._base import flag, integers, lambda_form
from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.layers._inputs import single


def _register(name: str, op_type: str) -> None:
    def reduce(
        call: Call, x: Tensor, *, axes: Sequence[int] = (1, 2), keepdims: bool = False
    ) -> Tensor:
        x = single(call, x)
        stored = sorted({call.stored_axis(x, axis) for axis in axes})
        if 0 in stored:
            raise call.unsupported("axes", tuple(axes), "axes other than the batch")
        value = x.value if keepdims else call.source(x)
        layout = x.layout if keepdims else Layout.SOURCE
        if not keepdims:
            stored = sorted({axis % x.rank for axis in axes})
        indices = call.ints("axes", stored)
        return Tensor(call.op(op_type, [value, indices], keepdims=int(keepdims)), layout)

    lambda_form(name, axes=integers, keepdims=flag)(reduce)


_register("reduce_mean", "ReduceMean")
_register("reduce_max", "ReduceMax")
_register("reduce_min", "ReduceMin")
_register("reduce_sum", "ReduceSum")
