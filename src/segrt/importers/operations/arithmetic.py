"""Element by element: arithmetic, powers, logarithms, rounding, trigonometry."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.importers.layers._base import Call, Tensor
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import (
    FLOAT,
    INT,
    aligned,
    common_kind,
    contents,
    floats,
    kind,
    remember,
    tensor,
)

_NEUTRAL = {operator.add: 0, operator.sub: 0, operator.mul: 1, operator.floordiv: 1}


def follow(function: Callable[[Any, Any], Any], result: Tensor, x: Operand, y: Operand) -> Tensor:
    """Note what is known of a result, where both operands' contents are known."""
    left, right = contents(x), contents(y)
    if left is None or right is None or left.ndim > 1 or right.ndim > 1:
        return result

    def one(a: Any, b: Any) -> Any:
        if isinstance(a, int | float) and isinstance(b, int | float):
            return function(a, b)
        return a if function in _NEUTRAL and b == _NEUTRAL[function] else None

    pairs = np.broadcast(left, right)
    known = np.empty(pairs.shape, dtype=object)
    known.reshape(-1)[:] = [one(a, b) for a, b in pairs]
    return remember(result, known)


def binary(
    call: Call, op_type: str, x: Operand, y: Operand, wanted: ir.DataType | None = None
) -> Tensor:
    """Append one ONNX node for two operands that broadcast."""
    values, layout = aligned(call, x, y, wanted=wanted)
    return Tensor(call.op(op_type, values, role=op_type.lower()), layout)


@operation(
    "tf:math.add|__operators__.add|add(x, y)",
    "node:Add|AddV2(x, y)",
    "keras:Add(x1>x, x2>y)",
)
def add(call: Call, x: Operand, y: Operand) -> Tensor:
    """Add."""
    return follow(operator.add, binary(call, "Add", x, y), x, y)


@operation(
    "tf:math.subtract|subtract|__operators__.sub(x, y)",
    "node:Sub(x, y)",
    "keras:Subtract(x1>x, x2>y)",
)
def subtract(call: Call, x: Operand, y: Operand) -> Tensor:
    """Subtract."""
    return follow(operator.sub, binary(call, "Sub", x, y), x, y)


@operation(
    "tf:math.multiply|multiply|__operators__.mul(x, y)",
    "tf:math.scalar_mul|scalar_mul(scalar>x, x>y)",
    "node:Mul(x, y)",
    "keras:Multiply(x1>x, x2>y)",
)
def multiply(call: Call, x: Operand, y: Operand) -> Tensor:
    """Multiply."""
    return follow(operator.mul, binary(call, "Mul", x, y), x, y)


@operation(
    "tf:math.truediv|truediv|math.divide|divide|realdiv|RealDiv|div|math.xdivy(x, y)",
    "node:RealDiv|Div|Xdivy(x, y)",
    "keras:TrueDivide|Divide(x1>x, x2>y)",
)
def divide(call: Call, x: Operand, y: Operand) -> Tensor:
    """Divide; of integers, as Python's ``/``."""
    return follow(operator.truediv, binary(call, "Div", x, y, FLOAT), x, y)


@operation(
    "tf:math.floordiv|floordiv|floor_div|math.floor_div|__operators__.floordiv(x, y)",
    "node:FloorDiv(x, y)",
    "keras:FloorDivide(x1>x, x2>y)",
)
def floor_divide(call: Call, x: Operand, y: Operand) -> Tensor:
    """Divide and round down; ONNX' Div of integers rounds towards zero."""
    values, layout = aligned(call, x, y)
    if common_kind(call, (x, y)) is FLOAT:
        value = call.op("Floor", [call.op("Div", values, role="quotient")], role="floor")
        return Tensor(value, layout)
    rest = call.op("Mod", values, role="rest")
    whole = call.op("Sub", [values[0], rest], role="whole")
    result = Tensor(call.op("Div", [whole, values[1]], role="quotient"), layout)
    return follow(operator.floordiv, result, x, y)


@operation(
    "tf:math.floormod|math.mod|mod|floormod(x, y)",
    "node:FloorMod(x, y)",
    "keras:Mod(x1>x, x2>y)",
)
def modulo(call: Call, x: Operand, y: Operand) -> Tensor:
    """Return the rest of `floor_divide`, which has the divisor's sign."""
    values, layout = aligned(call, x, y)
    if common_kind(call, (x, y)) is not FLOAT:
        return follow(operator.mod, Tensor(call.op("Mod", values, role="rest"), layout), x, y)
    rest = call.op("Mod", values, role="rest", fmod=1)
    zero = call.scalar("zero", 0.0)
    signs = [call.op("Less", [value, zero], role="negative") for value in (rest, values[1])]
    apart = call.op("Xor", signs, role="apart")
    some = call.op("Not", [call.op("Equal", [rest, zero], role="none")], role="some")
    moved = call.op("Add", [rest, values[1]], role="moved")
    chosen = call.op("And", [apart, some], role="both")
    return Tensor(call.op("Where", [chosen, moved, rest], role="modulo"), layout)


@operation("tf:math.pow|pow(x, y)", "node:Pow(x, y)", "keras:Power(x1>x, x2>y)")
def power(call: Call, x: Operand, y: Operand) -> Tensor:
    """Raise to a power; the square is a product."""
    exponent = contents(y)
    if kind(x) is FLOAT and exponent is not None and exponent.ndim == 0:
        if exponent.item() == 2:
            return square(call, x)
        if exponent.item() == 0.5:
            return _unary(call, "Sqrt", x)
    return binary(call, "Pow", x, y)


@operation("tf:math.maximum|maximum(x, y)", "node:Maximum(x, y)", "keras:Maximum|Fmax(x1>x, x2>y)")
def maximum(call: Call, x: Operand, y: Operand) -> Tensor:
    """Take the larger."""
    return follow(max, binary(call, "Max", x, y), x, y)


@operation("tf:math.minimum|minimum(x, y)", "node:Minimum(x, y)", "keras:Minimum|Fmin(x1>x, x2>y)")
def minimum(call: Call, x: Operand, y: Operand) -> Tensor:
    """Take the smaller."""
    return follow(min, binary(call, "Min", x, y), x, y)


@operation("tf:math.squared_difference|squared_difference(x, y)", "node:SquaredDifference(x, y)")
def squared_difference(call: Call, x: Operand, y: Operand) -> Tensor:
    """``(x - y)^2``."""
    return square(call, binary(call, "Sub", x, y))


@operation(
    "tf:math.divide_no_nan|div_no_nan(x, y)",
    "node:DivNoNan(x, y)",
    "keras:DivideNoNan(x1>x, x2>y)",
)
def divide_no_nan(call: Call, x: Operand, y: Operand) -> Tensor:
    """Divide, 0 where the divisor is 0."""
    values, layout = aligned(call, x, y, wanted=FLOAT)
    zero = call.scalar("zero", 0.0)
    none = call.op("Equal", [values[1], zero], role="none")
    safe = call.op("Where", [none, call.scalar("one", 1.0), values[1]], role="safe")
    quotient = call.op("Div", [values[0], safe], role="quotient")
    return Tensor(call.op("Where", [none, zero, quotient], role="divided"), layout)


@operation("tf:math.add_n|add_n(inputs>xs)", "node:AddN(*inputs>xs)")
def add_n(call: Call, xs: list[Operand]) -> Tensor:
    """Add from left to right."""
    items = list(xs) if isinstance(xs, list | tuple) else [xs]
    total = tensor(call, items[0])
    for item in items[1:]:
        total = binary(call, "Add", total, item)
    return total


@operation("tf:math.square|square(x)", "node:Square(x)", "keras:Square(x)")
def square(call: Call, x: Operand) -> Tensor:
    """``x * x``."""
    values, layout = aligned(call, x)
    return Tensor(call.op("Mul", [values[0], values[0]], role="square"), layout)


@operation("tf:math.negative|negative(x)", "node:Neg(x)", "keras:Negative(x)")
def negative(call: Call, x: Operand) -> Tensor:
    """``-x``."""
    values, layout = aligned(call, x)
    result = Tensor(call.op("Neg", values, role="negative"), layout)
    return follow(operator.mul, result, x, -1)


@operation("tf:math.log1p|log1p(x)", "node:Log1p(x)", "keras:Log1p(x)")
def log1p(call: Call, x: Operand) -> Tensor:
    """``log(1 + x)``, exact for small x: ``x * log(u) / (u - 1)`` with u = 1 + x, rounded."""
    x = floats(call, x)
    one = call.scalar("one", 1.0)
    u = call.op("Add", [x.value, one], role="u")
    rounded = call.op("Sub", [u, one], role="rounded")
    tiny = call.op("Equal", [u, one], role="tiny")
    safe = call.op("Where", [tiny, one, rounded], role="safe")
    factor = call.op("Div", [x.value, safe], role="factor")
    product = call.op("Mul", [call.op("Log", [u]), factor], role="product")
    return Tensor(call.op("Where", [tiny, x.value, product], role="log1p"), x.layout)


@operation("tf:math.expm1|expm1(x)", "node:Expm1(x)", "keras:Expm1(x)")
def expm1(call: Call, x: Operand) -> Tensor:
    """``exp(x) - 1``, exact for small x: ``tanh(x / 2) * (exp(x) + 1)``."""
    x = floats(call, x)
    half = call.op("Mul", [x.value, call.scalar("half", 0.5)], role="half_x")
    more = call.op("Add", [call.op("Exp", [x.value]), call.scalar("one", 1.0)], role="more")
    return Tensor(call.op("Mul", [call.op("Tanh", [half]), more], role="expm1"), x.layout)


@operation("tf:math.rsqrt|rsqrt(x)", "node:Rsqrt(x)", "keras:Rsqrt(x)")
def rsqrt(call: Call, x: Operand) -> Tensor:
    """``1 / sqrt(x)``."""
    root = _unary(call, "Sqrt", x)
    return Tensor(call.op("Reciprocal", [root.value]), root.layout)


@operation("tf:math.logaddexp(x, y)", "keras:Logaddexp(x1>x, x2>y)")
def logaddexp(call: Call, x: Operand, y: Operand) -> Tensor:
    """``max + log(1 + exp(-|x - y|))``."""
    largest = binary(call, "Max", x, y, FLOAT)
    distance = call.op("Abs", [binary(call, "Sub", x, y, FLOAT).value])
    grown = call.op("Softplus", [call.op("Neg", [distance])])
    return Tensor(call.op("Add", [largest.value, grown], role="sum"), largest.layout)


@operation("keras:Exp2(x)")
def exp2(call: Call, x: Operand) -> Tensor:
    """``2^x``."""
    return binary(call, "Pow", 2.0, floats(call, x))


@operation("keras:Trunc(x)")
def trunc(call: Call, x: Operand) -> Tensor:
    """Cut the fraction off: the size rounded down, with the sign."""
    x = floats(call, x)
    size = call.op("Floor", [call.op("Abs", [x.value])])
    return Tensor(call.op("Mul", [call.op("Sign", [x.value]), size], role="trunc"), x.layout)


@operation("keras:Cbrt(x)")
def cbrt(call: Call, x: Operand) -> Tensor:
    """Cube root, of negative numbers too."""
    x = floats(call, x)
    root = call.op("Pow", [call.op("Abs", [x.value]), call.scalar("third", 1 / 3)], role="root")
    return Tensor(call.op("Mul", [call.op("Sign", [x.value]), root], role="cbrt"), x.layout)


@operation("tf:math.round|round(x)", "node:Round|Rint(x)", "keras:Round(x, decimals=0)")
def rounded(call: Call, x: Operand, decimals: int = 0) -> Tensor:
    """Round to even."""
    if kind(x) is not FLOAT:
        return tensor(call, x)
    x = floats(call, x)
    if not decimals:
        return Tensor(call.op("Round", [x.value]), x.layout)
    factor = call.scalar("factor", 10.0**decimals)
    value = call.op("Round", [call.op("Mul", [x.value, factor], role="scaled")])
    return Tensor(call.op("Div", [value, factor], role="rounded"), x.layout)


def _unary(call: Call, op_type: str, x: Operand) -> Tensor:
    x = floats(call, x)
    return Tensor(call.op(op_type, [x.value], role=op_type.lower()), x.layout)


def _register_unary(op_type: str, *spellings: str) -> None:
    operation(*spellings)(lambda call, x: _unary(call, op_type, x))


def _register_same_type(op_type: str, *spellings: str) -> None:
    """For what is the same for integers, or does nothing to them (`Floor`)."""

    def apply(call: Call, x: Operand) -> Tensor:
        if kind(x) is INT and op_type in ("Floor", "Ceil"):
            return tensor(call, x)
        values, layout = aligned(call, x)
        return Tensor(call.op(op_type, values, role=op_type.lower()), layout)

    operation(*spellings)(apply)


def _register_scaled(op_type: str, factor: float, *spellings: str) -> None:
    """For a function that is another one times a factor."""

    def apply(call: Call, x: Operand) -> Tensor:
        inner = _unary(call, op_type, x)
        scaled = call.op("Mul", [inner.value, call.scalar("factor", factor)], role="scaled")
        return Tensor(scaled, inner.layout)

    operation(*spellings)(apply)


_register_unary("Exp", "tf:math.exp|exp(x)", "node:Exp(x)", "keras:Exp(x)")
_register_unary("Log", "tf:math.log|log(x)", "node:Log(x)", "keras:Log(x)")
_register_unary("Sqrt", "tf:math.sqrt|sqrt(x)", "node:Sqrt(x)", "keras:Sqrt(x)")
_register_unary("Erf", "tf:math.erf|erf(x)", "node:Erf(x)", "keras:Erf(x)")
_register_unary(
    "Reciprocal",
    "tf:math.reciprocal|reciprocal(x)",
    "node:Reciprocal|Inv(x)",
    "keras:Reciprocal(x)",
)
_register_same_type("Abs", "tf:math.abs|abs(x)", "node:Abs(x)", "keras:Absolute|Abs|Fabs(x)")
_register_same_type("Sign", "tf:math.sign|sign(x)", "node:Sign(x)", "keras:Sign(x)")
_register_same_type("Floor", "tf:math.floor|floor(x)", "node:Floor(x)", "keras:Floor(x)")
_register_same_type("Ceil", "tf:math.ceil|ceil(x)", "node:Ceil(x)", "keras:Ceil(x)")
_register_scaled("Log", 1 / math.log(2), "keras:Log2(x)")
_register_scaled("Log", 1 / math.log(10), "keras:Log10(x)")
for _name, _tf, _keras in (
    ("Sin", "sin", "Sin"), ("Cos", "cos", "Cos"), ("Tan", "tan", "Tan"),
    ("Asin", "asin", "Arcsin"), ("Acos", "acos", "Arccos"), ("Atan", "atan", "Arctan"),
    ("Sinh", "sinh", "Sinh"), ("Cosh", "cosh", "Cosh"),
    ("Asinh", "asinh", "Arcsinh"), ("Acosh", "acosh", "Arccosh"), ("Atanh", "atanh", "Arctanh"),
):  # fmt: skip
    _register_unary(_name, f"tf:math.{_tf}|{_tf}(x)", f"node:{_name}(x)", f"keras:{_keras}(x)")
