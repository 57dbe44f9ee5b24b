"""Activation functions as operations."""

from __future__ import annotations

from typing import Any

from segrt.importers.layers import _activation_functions as functions
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import axes_of, axis_of, floats, number


def _register(name: str, *spellings: str) -> None:
    function = functions.FUNCTIONS[name]

    def apply(call: Call, x: Operand) -> Tensor:
        x = floats(call, x)
        return Tensor(function(call, x), x.layout)

    operation(*spellings)(apply)


_register("relu", "tf:nn.relu(features>x)", "node:Relu(features>x)", "keras:Relu(x)")
_register("relu6", "tf:nn.relu6(features>x)", "node:Relu6(features>x)", "keras:Relu6(x)")
_register("sigmoid", "tf:math.sigmoid|nn.sigmoid|sigmoid(x)", "node:Sigmoid(x)", "keras:Sigmoid(x)")
_register("tanh", "tf:math.tanh|nn.tanh|tanh(x)", "node:Tanh(x)", "keras:Tanh(x)")
_register(
    "softplus",
    "tf:math.softplus|nn.softplus(features>x)",
    "node:Softplus(features>x)",
    "keras:Softplus(x)",
)
_register(
    "softsign",
    "tf:nn.softsign|math.softsign(features>x)",
    "node:Softsign(features>x)",
    "keras:Softsign(x)",
)
_register("selu", "tf:nn.selu(features>x)", "node:Selu(features>x)", "keras:Selu(x)")
_register("silu", "keras:Silu(x)")
_register("mish", "tf:keras.activations.mish(x)", "keras:Mish(x)")
_register("log_sigmoid", "tf:math.log_sigmoid(x)", "keras:LogSigmoid(x)")
_register("hard_sigmoid", "tf:keras.activations.hard_sigmoid(x)", "keras:HardSigmoid(x)")
_register("hard_silu", "keras:HardSilu(x)")
_register("hard_tanh", "keras:HardTanh(x)")
_register("tanh_shrink", "keras:TanhShrink(x)")


@operation("tf:nn.silu|nn.swish(features>x, beta=1.0)")
def silu(call: Call, x: Operand, beta: Operand) -> Tensor:
    """``x * sigmoid(beta * x)``."""
    x = floats(call, x)
    slope = number(call, "beta", beta)
    if slope == 1:
        return Tensor(functions.silu(call, x), x.layout)
    scaled = call.op("Mul", [x.value, call.scalar("beta", slope)], role="scaled")
    return Tensor(call.op("Mul", [x.value, call.op("Sigmoid", [scaled])], role="silu"), x.layout)


@operation(
    "tf:nn.leaky_relu(features>x, alpha>slope=0.2)",
    "node:LeakyRelu(features>x, alpha>slope=0.2)",
    "keras:LeakyRelu(x, negative_slope>slope=0.2)",
)
def leaky_relu(call: Call, x: Operand, slope: Operand) -> Tensor:
    """The value, below 0 times a slope."""
    x = floats(call, x)
    return Tensor(functions.relu(call, x, negative_slope=number(call, "alpha", slope)), x.layout)


@operation("keras:ReLU(x, negative_slope>slope=0.0, max_value=None, threshold=0.0)")
def general_relu(
    call: Call, x: Operand, slope: Operand, max_value: Operand, threshold: Operand
) -> Tensor:
    """Keras' relu with its limit, slope and threshold."""
    x = floats(call, x)
    value = functions.relu(
        call,
        x,
        negative_slope=number(call, "negative_slope", slope),
        max_value=None if max_value is None else number(call, "max_value", max_value),
        threshold=number(call, "threshold", threshold),
    )
    return Tensor(value, x.layout)


@operation("tf:nn.elu(features>x)", "node:Elu(features>x)", "keras:Elu(x, alpha=1.0)")
def elu(call: Call, x: Operand, alpha: Operand = 1.0) -> Tensor:
    """The value, below 0 ``alpha * (exp(x) - 1)``."""
    x = floats(call, x)
    return Tensor(call.op("Elu", [x.value], alpha=number(call, "alpha", alpha)), x.layout)


@operation("keras:Celu(x, alpha=1.0)")
def celu(call: Call, x: Operand, alpha: Operand) -> Tensor:
    """The value, below 0 ``alpha * (exp(x / alpha) - 1)``."""
    x = floats(call, x)
    return Tensor(call.op("Celu", [x.value], alpha=number(call, "alpha", alpha)), x.layout)


@operation("tf:nn.gelu(features>x, approximate=False)", "keras:Gelu(x, approximate=True)")
def gelu(call: Call, x: Operand, approximate: bool) -> Tensor:
    """GELU, exact or by tanh: the dialects' defaults differ."""
    x = floats(call, x)
    function = functions.gelu_tanh if approximate else functions.gelu
    return Tensor(function(call, x), x.layout)


@operation("keras:HardShrink(x, threshold=0.5)")
def hard_shrink(call: Call, x: Operand, threshold: Operand) -> Tensor:
    """The value, 0 around 0."""
    x = floats(call, x)
    bound = number(call, "threshold", threshold)
    return Tensor(call.op("Shrink", [x.value], lambd=bound, bias=0.0), x.layout)


@operation("keras:SoftShrink(x, threshold=0.5)")
def soft_shrink(call: Call, x: Operand, threshold: Operand) -> Tensor:
    """The value moved towards 0."""
    x = floats(call, x)
    bound = number(call, "threshold", threshold)
    return Tensor(call.op("Shrink", [x.value], lambd=bound, bias=bound), x.layout)


@operation("keras:Threshold(x, threshold, default_value)")
def threshold_(call: Call, x: Operand, threshold: Operand, default_value: Operand) -> Tensor:
    """The value above a threshold, else a value."""
    x = floats(call, x)
    above = call.op("Greater", [x.value, call.scalar("level", number(call, "level", threshold))])
    other = call.scalar("other", number(call, "default_value", default_value))
    return Tensor(call.op("Where", [above, x.value, other], role="threshold"), x.layout)


@operation("keras:Squareplus(x, b=4)")
def squareplus(call: Call, x: Operand, b: Operand) -> Tensor:
    """``(x + sqrt(x^2 + b)) / 2``."""
    x = floats(call, x)
    squared = call.op("Mul", [x.value, x.value], role="square")
    raised = call.op("Add", [squared, call.scalar("b", number(call, "b", b))], role="raised")
    total = call.op("Add", [x.value, call.op("Sqrt", [raised])], role="total")
    return Tensor(call.op("Mul", [total, call.scalar("half", 0.5)], role="squareplus"), x.layout)


@operation("keras:Glu(x, axis=-1)")
def glu(call: Call, x: Operand, axis: Operand) -> Tensor:
    """The first half times the sigmoid of the second."""
    x = floats(call, x)
    stored = call.stored_axis(x, axis_of(call, x, axis))
    halves = call.ops("Split", [x.value], outputs=2, axis=stored, num_outputs=2)
    gate = call.op("Sigmoid", [halves[1]])
    return Tensor(call.op("Mul", [halves[0], gate], role="glu"), x.layout)


@operation(
    "tf:nn.softmax|math.softmax|keras.activations.softmax(logits|x>x, axis|dim>axis=-1)",
    "node:Softmax(logits>x)",
    "keras:Softmax(x, axis=-1)",
)
def softmax(call: Call, x: Operand, axis: Operand = -1) -> Tensor:
    """Softmax over one axis or several."""
    x = floats(call, x)
    axes = axes_of(call, x, -1 if axis is None else axis)
    return Tensor(functions.softmax(call, x, axes), x.layout)


@operation(
    "tf:nn.log_softmax|math.log_softmax(logits>x, axis|dim>axis=-1)",
    "node:LogSoftmax(logits>x)",
    "keras:LogSoftmax(x, axis=-1)",
)
def log_softmax(call: Call, x: Operand, axis: Any = -1) -> Tensor:
    """Logarithm of softmax over one axis."""
    x = floats(call, x)
    stored = call.stored_axis(x, axis_of(call, x, -1 if axis is None else axis))
    return Tensor(call.op("LogSoftmax", [x.value], axis=stored), x.layout)
