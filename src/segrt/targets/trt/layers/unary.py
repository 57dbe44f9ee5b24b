"""Functions of one element."""

from __future__ import annotations

import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts

_KINDS = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Erf": "ERF",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "Log": "LOG",
    "Neg": "NEG",
    "Not": "NOT",
    "Reciprocal": "RECIP",
    "Round": "ROUND",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sqrt": "SQRT",
}


@converts(*_KINDS)
def unary(writer: Writer, node: ir.Node) -> Tensor:
    """Write a unary layer."""
    return writer.unary(writer.tensor(node.inputs[0]), _KINDS[node.op_type])
