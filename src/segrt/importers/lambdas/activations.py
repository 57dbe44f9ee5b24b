"""Activation functions, and the identity."""

from __future__ import annotations

from functools import partial

from segrt.importers.lambdas._base import flag, lambda_form
from segrt.importers.layers import _activation_functions as functions
from segrt.importers.layers._base import Call, Tensor
from segrt.importers.layers._inputs import identity, single

# Those whose meaning is one whatever Keras saved the file.
_NAMES = (
    "relu", "relu6", "elu", "selu", "sigmoid", "swish", "silu", "mish", "tanh", "softplus",
    "softsign", "log_sigmoid",
)  # fmt: skip


def _apply(call: Call, x: Tensor, *, function: functions.Function) -> Tensor:
    x = single(call, x)
    return Tensor(function(call, x), x.layout)


for _name in _NAMES:
    lambda_form(_name)(partial(_apply, function=functions.FUNCTIONS[_name]))


@lambda_form("identity")
def unchanged(call: Call, x: Tensor) -> Tensor:
    """``x``."""
    return identity(call, single(call, x))


@lambda_form("gelu", approximate=flag)
def gelu(call: Call, x: Tensor, *, approximate: bool = False) -> Tensor:
    """The exact gelu, or its approximation by tanh."""
    x = single(call, x)
    return Tensor((functions.gelu_tanh if approximate else functions.gelu)(call, x), x.layout)


@lambda_form("leaky_relu", alpha=float)
def leaky_relu(call: Call, x: Tensor, *, alpha: float = 0.2) -> Tensor:
    """`tf.nn.leaky_relu`."""
    x = single(call, x)
    return Tensor(call.op("LeakyRelu", [x.value], alpha=alpha), x.layout)


@lambda_form("softmax", axis=int)
def softmax(call: Call, x: Tensor, *, axis: int = -1) -> Tensor:
    """Softmax over an axis of Keras' order."""
    x = single(call, x)
    return Tensor(functions.softmax(call, x, (axis,)), x.layout)
