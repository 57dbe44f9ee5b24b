"""Arithmetic of one tensor, element by element, and normalising to length 1."""

from __future__ import annotations

import onnx_ir as ir

from segrt.importers.lambdas._base import lambda_form, number
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import single


@lambda_form("scale", mul=number, add=number)
def scale(call: Call, x: Tensor, *, mul: float = 1.0, add: float = 0.0) -> Tensor:
    """``x * mul + add``."""
    x = single(call, x)
    value = call.op("Mul", [x.value, call.scalar("factor", mul)], role="scaled")
    if add:
        value = call.op("Add", [value, call.scalar("shift", add)], role="shifted")
    return Tensor(value, x.layout)


@lambda_form("abs")
def absolute(call: Call, x: Tensor) -> Tensor:
    """``|x|``."""
    x = single(call, x)
    return Tensor(call.op("Abs", [x.value]), x.layout)


@lambda_form("square")
def square(call: Call, x: Tensor) -> Tensor:
    """``x * x``."""
    x = single(call, x)
    return Tensor(call.op("Mul", [x.value, x.value], role="square"), x.layout)


@lambda_form("clip", low=number, high=number)
def clip(call: Call, x: Tensor, *, low: float, high: float) -> Tensor:
    """``min(max(x, low), high)``."""
    x = single(call, x)
    limits = [call.scalar("low", low), call.scalar("high", high)]
    return Tensor(call.op("Clip", [x.value, *limits]), x.layout)


@lambda_form("l2_normalize", axis=int, epsilon=number)
def l2_normalize(call: Call, x: Tensor, *, axis: int = -1, epsilon: float = 1e-12) -> Tensor:
    """`tf.nn.l2_normalize`: ``x / sqrt(max(sum(x^2), epsilon))`` along an axis."""
    x = single(call, x)
    squares = call.op("Mul", [x.value, x.value], role="squares")
    axes = call.ints("axes", [call.stored_axis(x, axis)])
    total = call.op("ReduceSum", [squares, axes], role="total", keepdims=1)
    limited = call.op("Max", [total, call.scalar("epsilon", epsilon)], role="limited")
    return Tensor(call.op("Div", [x.value, _root(call, limited)], role="normalized"), x.layout)


def _root(call: Call, value: ir.Value) -> ir.Value:
    return call.op("Sqrt", [value], role="length")
