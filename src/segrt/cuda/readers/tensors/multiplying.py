"""Products of matrices, batched or not, of computed values or with a constant; and einsum."""

from __future__ import annotations

import string

import numpy as np
import onnx_ir as ir

from segrt.cuda.operations import Weights
from segrt.cuda.readers._base import TENSORS, constant, integer, number, text
from segrt.cuda.readers._tensors import sizes_of
from segrt.cuda.tensor_operations import Product


def _product(
    node: ir.Node, layer: str, equation: tuple[str, str, str], bias: Weights | None = None
) -> Product:
    arrays = {index: constant(value) for index, value in enumerate(node.inputs[:2])}
    constants = {index: array for index, array in arrays.items() if array is not None}
    names = tuple(
        value.name or ""
        for index, value in enumerate(node.inputs[:2])
        if index not in constants and value is not None
    )
    factor = number(node, "alpha", 1.0) if node.op_type == "Gemm" else 1.0
    output = node.outputs[0].name or ""
    return Product(layer, names, output, *equation, constants, bias, factor)


@TENSORS.register("MatMul")
def read_matrices(node: ir.Node, layer: str) -> Product:
    """Read it as NumPy defines it: axes before the last two are batches."""
    left, right = (len(sizes_of(value)) for value in node.inputs)
    batch = string.ascii_lowercase[: max(left, right, 2) - 2]
    first = "y" if left == 1 else f"{batch[len(batch) - (left - 2) :]}xy"
    second = "y" if right == 1 else f"{batch[len(batch) - (right - 2) :]}yz"
    result = batch + ("x" if left > 1 else "") + ("z" if right > 1 else "")
    return _product(node, layer, (first, second, result))


@TENSORS.register("Gemm")
def read_gemm(node: ir.Node, layer: str) -> Product | None:
    """Read a product with what is added along the last axis."""
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    given = len(node.inputs) > 2 and node.inputs[2] is not None
    columns = sizes_of(node.outputs[0])[1]
    if given:
        if (
            bias is None
            or bias.size not in (1, columns)
            or bias.shape[-1:] not in ((), (bias.size,))
        ):
            return None
        bias = np.asarray(bias, np.float32).reshape(-1) * np.float32(number(node, "beta", 1.0))
    left = "yx" if integer(node, "transA", 0) else "xy"
    right = "zy" if integer(node, "transB", 0) else "yz"
    return _product(node, layer, (left, right, "xz"), bias)


@TENSORS.register("Einsum")
def read_einsum(node: ir.Node, layer: str) -> Product | None:
    """Read an equation of two operands without diagonals."""
    equation = text(node, "equation", "").replace(" ", "")
    if len(node.inputs) != 2:
        return None
    full = _spelled(equation, [len(sizes_of(value)) for value in node.inputs])
    if full is None or any(len(set(letters)) != len(letters) for letters in full):
        return None
    return _product(node, layer, full)


def _spelled(equation: str, ranks: list[int]) -> tuple[str, str, str] | None:
    """Return an equation with a letter for every axis and a result."""
    terms, arrow, result = equation.partition("->")
    operands = terms.split(",")
    hidden = [
        rank - len(term.replace("...", "")) for term, rank in zip(operands, ranks, strict=True)
    ]
    spare = [letter for letter in string.ascii_uppercase if letter not in equation]
    most = max((h for h, term in zip(hidden, operands, strict=True) if "..." in term), default=0)
    spare = spare[:most]
    spelled = [
        term.replace("...", "".join(spare[most - count :]))
        for term, count in zip(operands, hidden, strict=True)
    ]
    if any(len(term) != rank for term, rank in zip(spelled, ranks, strict=True)):
        return None
    if not arrow:
        letters = "".join(operands).replace(".", "")
        result = "..." + "".join(sorted(n for n in set(letters) if letters.count(n) == 1))
    return spelled[0], spelled[1], result.replace("...", "".join(spare))
