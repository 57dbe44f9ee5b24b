"""Activation functions that are none of Keras' own, known by the name they are saved under.

Sources: the functions' papers (swish arXiv:1710.05941, hard swish arXiv:1905.02244, mish
arXiv:1908.08681) and, under the package ``Addons``, tensorflow-addons 0.23, activations.
"""

from __future__ import annotations

import onnx_ir as ir

from segrt.importers.layers._activation_functions import (
    Function,
    gelu_tanh,
    mish,
    relu6,
    silu,
    simple,
    tanh_shrink,
)
from segrt.importers.layers._base import Call, Tensor


def hard_swish(call: Call, x: Tensor) -> ir.Value:
    """``x * relu6(x + 3) / 6``, whatever the Keras: that of Keras 3 and of the paper."""
    share = call.op("HardSigmoid", [x.value], role="share", alpha=1 / 6, beta=0.5)
    return call.op("Mul", [x.value, share], role="hard_swish")


def lisht(call: Call, x: Tensor) -> ir.Value:
    """``x * tanh(x)``."""
    return call.op("Mul", [x.value, call.op("Tanh", [x.value])], role="lisht")


# Names that mean one function wherever they are defined.
ANYWHERE: dict[str, Function] = {
    **dict.fromkeys(("swish", "silu", "swish_fn", "swish_activation", "Swish", "SiLU"), silu),
    **dict.fromkeys(("relu6", "relu_6", "ReLU6", "Relu6"), relu6),
    **dict.fromkeys(("hard_swish", "hardswish", "h_swish", "hswish", "HardSwish"), hard_swish),
    **dict.fromkeys(("mish", "Mish", "mish_fn"), mish),
}

# tensorflow-addons' functions with their default arguments.
ADDONS: dict[str, Function] = {
    "mish": mish,
    "gelu": gelu_tanh,
    "lisht": lisht,
    "tanhshrink": tanh_shrink,
    "hardshrink": simple("Shrink", lambd=0.5, bias=0.0),
    "softshrink": simple("Shrink", lambd=0.5, bias=0.5),
}


def find(name: str, package: str) -> Function | None:
    """Return a function by the name and package it was saved under; None where it is unknown."""
    return ADDONS.get(name) if package == "Addons" else ANYWHERE.get(name)
