"""Elementwise and unary arithmetic, choices, products, softmax, casts and constants."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.targets.trt.readers._base import Reader, reads

_ELEMENTWISE = {
    "AND": "And", "DIV": "Div", "EQUAL": "Equal", "GREATER": "Greater",
    "LESS": "Less", "MAX": "Max", "MIN": "Min", "OR": "Or", "POW": "Pow", "PROD": "Mul",
    "SUB": "Sub", "SUM": "Add", "XOR": "Xor",
}  # fmt: skip
_UNARY = {
    "ACOS": "Acos", "ACOSH": "Acosh", "ASIN": "Asin", "ASINH": "Asinh", "ATAN": "Atan",
    "ATANH": "Atanh", "COSH": "Cosh", "ISINF": "IsInf", "ISNAN": "IsNaN", "SINH": "Sinh",
    "TAN": "Tan", "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ERF": "Erf", "EXP": "Exp",
    "FLOOR": "Floor",
    "LOG": "Log", "NEG": "Neg", "NOT": "Not", "RECIP": "Reciprocal", "ROUND": "Round",
    "SIGN": "Sign", "SIN": "Sin", "SQRT": "Sqrt",
}  # fmt: skip


@reads("ELEMENTWISE")
def elementwise(reader: Reader, layer: Any) -> ir.Value:
    """Read arithmetic or a comparison of two tensors."""
    kind, a, b = reader.enum(layer.op), reader.input(0), reader.input(1)
    if kind != "FLOOR_DIV":
        return reader.op(_ELEMENTWISE[kind], [a, b])
    if a.dtype == ir.DataType.FLOAT:
        return reader.op("Floor", [reader.op("Div", [a, b])])
    # ONNX' Div rounds whole numbers towards 0; its Mod follows the divisor's sign.
    whole = reader.op("Sub", [a, reader.op("Mod", [a, b])])
    return reader.op("Div", [whole, b])


@reads("UNARY")
def unary(reader: Reader, layer: Any) -> ir.Value:
    """Read a function of one element."""
    kind = reader.enum(layer.op)
    if kind not in _UNARY:
        raise reader.refuse(f"function {kind}", ", ".join(_UNARY))
    return reader.op(_UNARY[kind], [reader.input(0)])


@reads("SELECT")
def select(reader: Reader, _layer: Any) -> ir.Value:
    """Read a choice between two tensors."""
    return reader.op("Where", [reader.input(index) for index in range(3)])


@reads("MATRIX_MULTIPLY")
def matrix_multiply(reader: Reader, layer: Any) -> ir.Value:
    """Read a matrix product."""
    operands = []
    for index, operation in ((0, layer.op0), (1, layer.op1)):
        value, kind = reader.input(index), reader.enum(operation)
        if kind == "TRANSPOSE":
            axes = list(range(len(value.shape or ())))
            value = reader.op("Transpose", [value], perm=[*axes[:-2], axes[-1], axes[-2]])
        elif kind != "NONE":
            raise reader.refuse(f"operand {kind}", "a matrix")
        operands.append(value)
    return reader.op("MatMul", operands)


@reads("SOFTMAX")
def softmax(reader: Reader, layer: Any) -> ir.Value:
    """Read a softmax."""
    (axis,) = reader.axes(layer.axes)
    return reader.op("Softmax", [reader.input(0)], axis=axis)


@reads("CAST")
def cast(reader: Reader, layer: Any) -> ir.Value:
    """Read a change of type; between floats it is none here, since all are widened."""
    to = element_type(reader, layer.get_output(0).dtype)
    value = reader.input(0)
    if value.dtype == to:
        return reader.op("Identity", [value])
    return reader.op("Cast", [value], to=int(to))


@reads("IDENTITY")
def identity(reader: Reader, layer: Any) -> ir.Value:
    """Read an identity; the parser also writes casts so."""
    return cast(reader, layer)


@reads("CONSTANT")
def constant(reader: Reader, layer: Any) -> ir.Value:
    """Read a constant."""
    array = reader.weights(layer.weights, tuple(layer.shape))
    return reader.op("Identity", [reader.floats("value", array)])


def element_type(reader: Reader, dtype: Any) -> ir.DataType:
    """Return ONNX' name of a type; half precision is widened."""
    name = reader.enum(dtype)
    known = {
        "FLOAT": ir.DataType.FLOAT, "HALF": ir.DataType.FLOAT, "BF16": ir.DataType.FLOAT,
        "INT64": ir.DataType.INT64, "INT32": ir.DataType.INT32, "UINT8": ir.DataType.UINT8,
        "BOOL": ir.DataType.BOOL, "INT8": ir.DataType.INT8,
    }  # fmt: skip
    if name not in known:
        raise reader.refuse(f"type {name}", ", ".join(known))
    return known[name]
