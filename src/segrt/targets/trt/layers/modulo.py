"""Mod: what is left of a division."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts


@converts("Mod")
def modulo(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``a - b * quotient``; with ``fmod`` its sign is the dividend's, else the divisor's.

    Of floats below 2^24 that are whole numbers the rest is exact. Of others it is off by what
    rounding ``b * quotient`` makes of it, as TensorRT has no layer for it.
    """
    a, b = (writer.tensor(value) for value in node.inputs[:2])
    rank = max(len(a.shape), len(b.shape))
    a, b = (writer.tensor(value, rank=rank) for value in node.inputs[:2])
    if np.issubdtype(writer.numpy_dtype(a), np.integer):
        # TensorRT's DIV of integers rounds towards 0.
        kind = "DIV" if node.attributes.get_int("fmod", 0) else "FLOOR_DIV"
        return _rest(writer, a, b, writer.elementwise(a, b, kind, "quotient"))
    # ONNX has no other one for floats.
    size, step = writer.unary(a, "ABS", "size"), writer.unary(b, "ABS", "step")
    quotient = writer.unary(writer.elementwise(size, step, "DIV", "quotient"), "FLOOR", "whole")
    rest = _rest(writer, size, step, quotient, "rest")
    # The quotient may have been rounded over a whole number, either way.
    zero = writer.scalar(0.0, rest, "zero")
    below = writer.elementwise(rest, zero, "LESS", "below")
    rest = _choose(writer, below, writer.elementwise(rest, step, "SUM", "one more"), rest, "low")
    within = writer.elementwise(rest, step, "LESS", "within")
    rest = _choose(writer, within, rest, writer.elementwise(rest, step, "SUB", "one less"), "high")
    negative = writer.elementwise(a, zero, "LESS", "negative")
    return _choose(writer, negative, writer.unary(rest, "NEG", "turned"), rest)


def _rest(writer: Writer, a: Tensor, b: Tensor, quotient: Tensor, role: str = "") -> Tensor:
    return writer.elementwise(a, writer.elementwise(quotient, b, "PROD", "taken"), "SUB", role)


def _choose(writer: Writer, flag: Tensor, a: Tensor, b: Tensor, role: str = "") -> Tensor:
    return writer.layer(writer.network.add_select(flag, a, b), role)
