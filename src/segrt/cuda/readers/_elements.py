"""Which step of the pointwise kernels an element-by-element operator is."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.cuda.readers._base import constant, number

# Operator -> step, and its settings: attribute names with ONNX's defaults.
PLAIN: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "Relu": ("relu", ()),
    "LeakyRelu": ("leaky_relu", (("alpha", 0.01),)),
    "Sigmoid": ("sigmoid", ()),
    "HardSigmoid": ("hard_sigmoid", (("alpha", 0.2), ("beta", 0.5))),
    "Tanh": ("tanh", ()),
    "Elu": ("elu", (("alpha", 1.0),)),
    "Selu": ("selu", (("alpha", 1.6732632423543772), ("gamma", 1.0507009873554805))),
    "Softplus": ("softplus", ()),
    "Softsign": ("softsign", ()),
    "Exp": ("exp", ()),
    "Erf": ("erf", ()),
    "Abs": ("abs", ()),
    "Neg": ("neg", ()),
    "Sqrt": ("sqrt", ()),
    "Identity": ("identity", ()),
}


def settings_of(node: ir.Node) -> tuple[float, ...]:
    """Return the numbers of a step with one operand."""
    return tuple(number(node, name, default) for name, default in PLAIN[node.op_type][1])


def bounds_of(node: ir.Node) -> tuple[float, float] | None:
    """Return the ends of a clip; None where one is computed."""
    ends = [-np.inf, np.inf]
    for index, value in enumerate(node.inputs[1:3]):
        array = constant(value)
        if array is None and value is not None:
            return None
        if array is not None:
            ends[index] = float(array.reshape(-1)[0])
    return ends[0], ends[1]
