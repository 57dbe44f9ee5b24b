"""Element-by-element operators with broadcasting, comparisons, logic, and casts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.cuda.readers._base import TENSORS, constant, integer, number
from segrt.cuda.readers._elements import PLAIN, settings_of
from segrt.cuda.readers._tensors import Builder, is_given
from segrt.cuda.tensor_operations import Strided

_ONE = {
    "Reciprocal": "reciprocal",
    "Log": "log",
    "Sin": "sin",
    "Cos": "cos",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sign": "sign",
    "Not": "not",
    "IsNaN": "is_nan",
}
_TWO = {
    "Sub": "sub",
    "Pow": "power",
    "PRelu": "prelu",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Equal": "equal",
    "And": "and",
    "Or": "or",
    "Xor": "xor",
}
_MANY = {"Add": "add", "Mul": "mul", "Max": "max", "Min": "min", "Sum": "add", "Mean": "add"}


def _is_whole(value: ir.Value | None) -> bool:
    return value is not None and value.dtype is not None and value.dtype.is_integer()


@TENSORS.register(*PLAIN)
def read_plain(node: ir.Node, layer: str) -> Strided:
    """Read what has one operand, with settings."""
    built = Builder(node, layer)
    built.step(PLAIN[node.op_type][0], [built.operand(0)], settings_of(node))
    return built.build()


@TENSORS.register(*_ONE)
def read_one(node: ir.Node, layer: str) -> Strided:
    """Read what has one operand."""
    built = Builder(node, layer)
    built.step(_ONE[node.op_type], [built.operand(0)])
    return built.build()


@TENSORS.register(*_TWO)
def read_two(node: ir.Node, layer: str) -> Strided:
    """Read what has two operands."""
    built = Builder(node, layer)
    built.step(_TWO[node.op_type], [built.operand(0), built.operand(1)])
    return built.build()


@TENSORS.register(*_MANY)
def read_many(node: ir.Node, layer: str) -> Strided:
    """Read what has any number of operands."""
    built = Builder(node, layer)
    registers = [built.operand(index) for index in range(len(node.inputs))]
    last = _together(built, _MANY[node.op_type], registers)
    if node.op_type == "Mean":
        share = built.step("number", (), (1 / len(registers),))
        built.step("mul", [last, share])
    elif len(registers) == 1:
        built.step("identity", [last])
    return built.build()


def _together(built: Builder, op: str, registers: Sequence[int]) -> int:
    last = registers[0]
    for register in registers[1:]:
        last = built.step(op, [last, register])
    return last


@TENSORS.register("Div")
def read_division(node: ir.Node, layer: str) -> Strided:
    """Read a division; that of whole numbers has no rest."""
    built = Builder(node, layer)
    op = "whole_div" if _is_whole(node.inputs[0]) else "div"
    built.step(op, [built.operand(0), built.operand(1)])
    return built.build()


@TENSORS.register("Mod")
def read_rest(node: ir.Node, layer: str) -> Strided:
    """Read the rest of a division, with the sign of the divisor or of what is divided."""
    built = Builder(node, layer)
    op = "c_mod" if integer(node, "fmod", 0) else "floor_mod"
    built.step(op, [built.operand(0), built.operand(1)])
    return built.build()


@TENSORS.register("Where")
def read_where(node: ir.Node, layer: str) -> Strided:
    """Read a choice by a mask."""
    built = Builder(node, layer)
    built.step("where", [built.operand(index) for index in range(3)])
    return built.build()


@TENSORS.register("Clip")
def read_clip(node: ir.Node, layer: str) -> Strided:
    """Read a clip; either end may be computed."""
    built = Builder(node, layer)
    last = built.operand(0)
    for index, op in ((1, "max"), (2, "min")):
        if is_given(node, index):
            last = built.step(op, [last, built.operand(index)])
    built.step("identity", [last])
    return built.build()


@TENSORS.register("Cast")
def read_cast(node: ir.Node, layer: str) -> Strided | None:
    """Read a change of type between floating point, whole numbers and truth."""
    kind = node.outputs[0].dtype
    if kind is None:
        return None
    built = Builder(node, layer)
    op = "identity"
    if kind == ir.DataType.BOOL:
        op = "true"
    elif kind.is_integer() and not _is_whole(node.inputs[0]):
        op = "truncate"
    built.step(op, [built.operand(0)])
    return built.build()


@TENSORS.register("HardSwish")
def read_hard_swish(node: ir.Node, layer: str) -> Strided:
    """Read it as a product with a hard sigmoid."""
    built = Builder(node, layer)
    value = built.operand(0)
    built.step("mul", [value, built.step("hard_sigmoid", [value], (1 / 6, 0.5))])
    return built.build()


@TENSORS.register("Mish")
def read_mish(node: ir.Node, layer: str) -> Strided:
    """Read it as its definition."""
    built = Builder(node, layer)
    value = built.operand(0)
    built.step("mul", [value, built.step("tanh", [built.step("softplus", [value])])])
    return built.build()


@TENSORS.register("BatchNormalization")
def read_normalisation(node: ir.Node, layer: str) -> Strided | None:
    """Read a normalisation by recorded statistics as a factor and a shift."""
    arrays = [constant(value) for value in node.inputs[1:5]]
    if any(array is None for array in arrays):
        return None
    scale, shift, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    factor = scale / np.sqrt(variance + number(node, "epsilon", 1e-5))
    rank = len(node.outputs[0].shape or ())
    shape = (-1, *(1,) * (rank - 2))
    built = Builder(node, layer)
    product = built.step("mul", [built.operand(0), built.array(factor.reshape(shape))])
    built.step("add", [product, built.array((shift - mean * factor).reshape(shape))])
    return built.build()
