"""The mathematics of Keras' activation functions, as ONNX nodes.

Every function takes the call and a tensor and returns the ONNX value, stored like the tensor.
Inner names carry the function's name, so that one layer may use several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import onnx_ir as ir

from segrt.importers.layers._base import Call, Tensor

Function: TypeAlias = Callable[[Call, Tensor], ir.Value]

# What the functions `leaky_relu` (not the layer) and `celu`, `elu` take where nothing is said.
LEAKY_RELU_SLOPE = 0.2
_SHRINK = 0.5


def simple(op_type: str, **attributes: float) -> Function:
    """Return the function that is one ONNX node."""

    def apply(call: Call, x: Tensor) -> ir.Value:
        return call.op(op_type, [x.value], role=op_type.lower(), **attributes)

    return apply


def relu(
    call: Call,
    x: Tensor,
    *,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> ir.Value:
    """Keras' relu: x above the threshold up to ``max_value``; below, a line through it.

    It repeats Keras' own steps, because they say what happens at the threshold itself (0, not
    the threshold) and for a threshold below 0.
    """
    if max_value is None and threshold == 0:
        if negative_slope == 0:
            return call.op("Relu", [x.value])
        return call.op("LeakyRelu", [x.value], alpha=negative_slope)
    value = x.value
    limit = None if max_value is None else call.scalar("max_value", max_value)
    zero = call.scalar("zero", 0.0)
    if threshold != 0:
        level = call.scalar("threshold", threshold)
        above = call.op("Greater", [value, level], role="above")
        value = call.op("Where", [above, value, zero], role="kept")
        if limit is not None:
            value = call.op("Clip", [value, zero, limit])
    else:
        value = call.op("Clip", [value, zero, limit])
    if negative_slope == 0:
        return value
    below = x.value
    if threshold != 0:
        below = call.op("Sub", [below, level], role="distance")
    below = call.op("Min", [below, zero], role="below")
    slope = call.scalar("negative_slope", negative_slope)
    return call.op("Add", [value, call.op("Mul", [below, slope], role="slope")], role="sum")


def relu6(call: Call, x: Tensor) -> ir.Value:
    """Clip to 0..6."""
    return relu(call, x, max_value=6.0)


def leaky_relu(call: Call, x: Tensor) -> ir.Value:
    """The function's default slope is 0.2, the layer's is 0.3."""
    return relu(call, x, negative_slope=LEAKY_RELU_SLOPE)


def gelu(call: Call, x: Tensor) -> ir.Value:
    """``x / 2 * (1 + erf(x / sqrt(2)))``: the exact one is Keras' default."""
    one, half = call.scalar("one", 1.0), call.scalar("half", 0.5)
    root = call.scalar("root", math.sqrt(2))
    erf = call.op("Erf", [call.op("Div", [x.value, root], role="scaled")])
    share = call.op("Add", [erf, one], role="share")
    return call.op("Mul", [call.op("Mul", [x.value, half], role="half"), share], role="gelu")


def gelu_tanh(call: Call, x: Tensor) -> ir.Value:
    """``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))``."""
    one, half = call.scalar("one", 1.0), call.scalar("half", 0.5)
    cube = call.op("Mul", [call.op("Mul", [x.value, x.value], role="square"), x.value], role="cube")
    bent = call.op("Mul", [cube, call.scalar("cubic", 0.044715)], role="bent")
    inner = call.op(
        "Mul",
        [
            call.op("Add", [x.value, bent], role="inner"),
            call.scalar("factor", math.sqrt(2 / math.pi)),
        ],
        role="scaled",
    )
    share = call.op("Add", [call.op("Tanh", [inner]), one], role="share")
    return call.op("Mul", [call.op("Mul", [x.value, half], role="half"), share], role="gelu")


def silu(call: Call, x: Tensor) -> ir.Value:
    """``x * sigmoid(x)``, also called swish."""
    return call.op("Mul", [x.value, call.op("Sigmoid", [x.value])], role="silu")


def mish(call: Call, x: Tensor) -> ir.Value:
    """``x * tanh(softplus(x))``."""
    inner = call.op("Tanh", [call.op("Softplus", [x.value])])
    return call.op("Mul", [x.value, inner], role="mish")


def hard_sigmoid(call: Call, x: Tensor) -> ir.Value:
    """``clip(x / 5 + 1/2, 0, 1)`` for Keras 2, ``clip(x / 6 + 1/2, 0, 1)`` for Keras 3."""
    alpha = 0.2 if call.keras_major == 2 else 1 / 6
    return call.op("HardSigmoid", [x.value], alpha=alpha, beta=0.5)


def hard_silu(call: Call, x: Tensor) -> ir.Value:
    """``x * hard_sigmoid(x)``, also called hard_swish."""
    return call.op("Mul", [x.value, hard_sigmoid(call, x)], role="hard_silu")


def hard_tanh(call: Call, x: Tensor) -> ir.Value:
    """Clip to -1..1."""
    return call.op("Clip", [x.value, call.scalar("low", -1.0), call.scalar("high", 1.0)])


def log_sigmoid(call: Call, x: Tensor) -> ir.Value:
    """``-softplus(-x)``."""
    negative = call.op("Neg", [x.value], role="negative")
    return call.op("Neg", [call.op("Softplus", [negative])], role="log_sigmoid")


def tanh_shrink(call: Call, x: Tensor) -> ir.Value:
    """``x - tanh(x)``."""
    return call.op("Sub", [x.value, call.op("Tanh", [x.value])], role="tanh_shrink")


def squareplus(call: Call, x: Tensor) -> ir.Value:
    """``(x + sqrt(x^2 + 4)) / 2``."""
    square = call.op("Mul", [x.value, x.value], role="square")
    root = call.op("Sqrt", [call.op("Add", [square, call.scalar("four", 4.0)], role="sum")])
    total = call.op("Add", [x.value, root], role="total")
    return call.op("Mul", [total, call.scalar("half", 0.5)], role="squareplus")


def linear(call: Call, x: Tensor) -> ir.Value:
    """The value itself, under a new name."""
    return call.op("Identity", [x.value])


def softmax(call: Call, x: Tensor, axes: Sequence[int] = (-1,)) -> ir.Value:
    """Softmax over Keras' axes; over several at once, the maximum is taken out first."""
    stored = [call.stored_axis(x, axis) for axis in axes]
    if len(stored) == 1:
        return call.op("Softmax", [x.value], axis=stored[0])
    indices = call.ints("axes", stored)
    largest = call.op("ReduceMax", [x.value, indices], role="largest", keepdims=1)
    power = call.op("Exp", [call.op("Sub", [x.value, largest], role="shifted")])
    total = call.op("ReduceSum", [power, indices], role="total", keepdims=1)
    return call.op("Div", [power, total], role="softmax")


def log_softmax(call: Call, x: Tensor) -> ir.Value:
    """Logarithm of softmax over Keras' last axis."""
    return call.op("LogSoftmax", [x.value], axis=call.stored_axis(x, -1))


def glu(call: Call, x: Tensor) -> ir.Value:
    """Gate the first half of Keras' last axis with the sigmoid of the second."""
    axis = call.stored_axis(x, -1)
    size = x.shape[-1]
    if size is None or size % 2:
        raise call.unsupported("activation", f"glu of {size} channels", "an even number")
    left, right = call.ops("Split", [x.value], outputs=2, role="half", axis=axis, num_outputs=2)
    return call.op("Mul", [left, call.op("Sigmoid", [right])], role="glu")


def sparse_plus(call: Call, x: Tensor) -> ir.Value:
    """0 up to -1, ``(x + 1)^2 / 4`` up to 1, x above."""
    shifted = call.op("Add", [x.value, call.scalar("one", 1.0)], role="shifted")
    ends = [call.scalar("low", 0.0), call.scalar("high", 2.0)]
    inner = call.op("Clip", [shifted, *ends], role="inner")
    square = call.op("Mul", [inner, inner], role="square")
    curve = call.op("Mul", [square, call.scalar("quarter", 0.25)], role="curve")
    return call.op("Max", [curve, x.value], role="sparse_plus")


# TensorFlow's own functions keep their Python names (`tf.nn.softmax` is softmax_v2).
FUNCTIONS: dict[str, Function] = {
    "linear": linear,
    "relu": relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "elu": simple("Elu", alpha=1.0),
    "selu": simple("Selu"),
    "celu": simple("Celu", alpha=1.0),
    "gelu": gelu,
    "silu": silu,
    "swish": silu,
    "mish": mish,
    "sigmoid": simple("Sigmoid"),
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
    "hard_swish": hard_silu,
    "log_sigmoid": log_sigmoid,
    "tanh": simple("Tanh"),
    "hard_tanh": hard_tanh,
    "tanh_shrink": tanh_shrink,
    "hard_shrink": simple("Shrink", lambd=_SHRINK, bias=0.0),
    "soft_shrink": simple("Shrink", lambd=_SHRINK, bias=_SHRINK),
    "softplus": simple("Softplus"),
    "softsign": simple("Softsign"),
    "squareplus": squareplus,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": simple("HardSigmoid", alpha=0.5, beta=0.5),
    "glu": glu,
    "exponential": simple("Exp"),
    "softmax": softmax,
    "softmax_v2": softmax,
    "log_softmax": log_softmax,
    "log_softmax_v2": log_softmax,
}
