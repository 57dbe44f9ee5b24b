"""Comparisons, logic, and choosing by a condition."""

from __future__ import annotations

from segrt.importers.layers._base import Call, Tensor
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import (
    BOOL,
    FLOAT,
    aligned,
    cast,
    common_kind,
    contents,
    floats,
    number,
    tensor,
)
from segrt.importers.operations.arithmetic import binary


def _register_comparison(op_type: str, *spellings: str) -> None:
    def compare(call: Call, x: Operand, y: Operand) -> Tensor:
        wanted = BOOL if op_type in ("And", "Or", "Xor") else None
        return binary(call, op_type, x, y, wanted)

    operation(*spellings)(compare)


_register_comparison(
    "Greater", "tf:math.greater|greater(x, y)", "node:Greater(x, y)", "keras:Greater(x1>x, x2>y)"
)
_register_comparison(
    "GreaterOrEqual",
    "tf:math.greater_equal|greater_equal(x, y)",
    "node:GreaterEqual(x, y)",
    "keras:GreaterEqual(x1>x, x2>y)",
)
_register_comparison("Less", "tf:math.less|less(x, y)", "node:Less(x, y)", "keras:Less(x1>x, x2>y)")
_register_comparison(
    "LessOrEqual",
    "tf:math.less_equal|less_equal(x, y)",
    "node:LessEqual(x, y)",
    "keras:LessEqual(x1>x, x2>y)",
)
_register_comparison(
    "Equal",
    "tf:math.equal|equal|__operators__.eq(x|self>x, y|other>y)",
    "node:Equal(x, y)",
    "keras:Equal(x1>x, x2>y)",
)
_register_comparison(
    "And",
    "tf:math.logical_and|logical_and(x, y)",
    "node:LogicalAnd(x, y)",
    "keras:LogicalAnd(x1>x, x2>y)",
)
_register_comparison(
    "Or",
    "tf:math.logical_or|logical_or(x, y)",
    "node:LogicalOr(x, y)",
    "keras:LogicalOr(x1>x, x2>y)",
)
_register_comparison("Xor", "tf:math.logical_xor(x, y)", "keras:LogicalXor(x1>x, x2>y)")


@operation(
    "tf:math.not_equal|not_equal|__operators__.ne(x|self>x, y|other>y)",
    "node:NotEqual(x, y)",
    "keras:NotEqual(x1>x, x2>y)",
)
def not_equal(call: Call, x: Operand, y: Operand) -> Tensor:
    """Say where two operands differ."""
    equal = binary(call, "Equal", x, y)
    return Tensor(call.op("Not", [equal.value], role="not_equal"), equal.layout)


@operation("tf:math.logical_not|logical_not(x)", "node:LogicalNot(x)", "keras:LogicalNot(x)")
def logical_not(call: Call, x: Operand) -> Tensor:
    """Turn true and false round."""
    x = truth(call, x)
    return Tensor(call.op("Not", [x.value]), x.layout)


def truth(call: Call, x: Operand) -> Tensor:
    """Return an operand as a tensor of truth values: what is not 0 is true."""
    return cast(call, x, BOOL)


@operation("tf:math.is_nan(x)", "node:IsNan(x)", "keras:Isnan(x)")
def is_nan(call: Call, x: Operand) -> Tensor:
    """Say where there is no number."""
    x = floats(call, x)
    return Tensor(call.op("IsNaN", [x.value]), x.layout)


@operation("tf:math.is_inf(x)", "node:IsInf(x)", "keras:Isinf(x)")
def is_inf(call: Call, x: Operand) -> Tensor:
    """Say where a number is infinite."""
    x = floats(call, x)
    return Tensor(call.op("IsInf", [x.value]), x.layout)


@operation("tf:math.is_finite(x)", "node:IsFinite(x)", "keras:Isfinite(x)")
def is_finite(call: Call, x: Operand) -> Tensor:
    """Say where there is a number, and no infinite one."""
    x = floats(call, x)
    bad = [call.op(op, [x.value], role=op.lower()) for op in ("IsNaN", "IsInf")]
    return Tensor(call.op("Not", [call.op("Or", bad, role="bad")], role="finite"), x.layout)


@operation(
    "tf:where|where_v2(condition, x=None, y=None)",
    "node:Select|SelectV2(condition, x, y)",
    "keras:Where(condition, x1>x=None, x2>y=None)",
)
def where(call: Call, condition: Operand, x: Operand = None, y: Operand = None) -> Tensor:
    """Take ``x`` where the condition holds, else ``y``."""
    if x is None or y is None:
        raise call.unsupported("where", "a condition alone: indices of unknown number", "x and y")
    wanted = common_kind(call, (x, y))
    choice = truth(call, condition)
    values, layout = aligned(call, choice, x, y, wanted=(BOOL, wanted, wanted))
    return Tensor(call.op("Where", values, role="where"), layout)


@operation(
    "tf:clip_by_value(t>x, clip_value_min>low, clip_value_max>high)",
    "node:ClipByValue(t>x, clip_value_min>low, clip_value_max>high)",
    "keras:Clip(x, x_min>low, x_max>high)",
)
def clip(call: Call, x: Operand, low: Operand, high: Operand) -> Tensor:
    """Limit to a range."""
    x = tensor(call, x)
    if x.value.dtype == FLOAT and all(_is_number(bound) for bound in (low, high)):
        bounds = [call.scalar(n, number(call, n, b)) for n, b in (("low", low), ("high", high))]
        return Tensor(call.op("Clip", [x.value, *bounds]), x.layout)
    return binary(call, "Max", binary(call, "Min", x, high), low)


def _is_number(x: Operand) -> bool:
    known = contents(x)
    return known is not None and known.ndim == 0 and isinstance(known.item(), int | float)
