"""Functions of one element."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts

_KINDS = {
    "Abs": "ABS",
    "Acos": "ACOS",
    "Acosh": "ACOSH",
    "Asin": "ASIN",
    "Asinh": "ASINH",
    "Atan": "ATAN",
    "Atanh": "ATANH",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Cosh": "COSH",
    "Erf": "ERF",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "IsInf": "ISINF",
    "IsNaN": "ISNAN",
    "Log": "LOG",
    "Neg": "NEG",
    "Not": "NOT",
    "Reciprocal": "RECIP",
    "Round": "ROUND",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sinh": "SINH",
    "Sqrt": "SQRT",
    "Tan": "TAN",
}


@converts(*_KINDS)
def unary(writer: Writer, node: ir.Node) -> Tensor:
    """Write a unary layer."""
    return writer.unary(writer.tensor(node.inputs[0]), _KINDS[node.op_type])
