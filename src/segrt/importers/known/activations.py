"""Activation functions written as layers.

Sources:
    GELU (by tanh) and Snake (``x + sin(b x)^2 / b``): keras-unet-collection 0.1.13, activations.py.
    GELU (``approximate``) and Snake (``frequency``): tensorflow-addons 0.23, layers.
    Classes without settings: the functions' own definitions; Swish arXiv:1710.05941, Mish
    arXiv:1908.08681, hard swish arXiv:1905.02244, Snake arXiv:2006.08195.
"""

from __future__ import annotations

import onnx_ir as ir

from segrt.importers._layer_graph import JsonObject
from segrt.importers.known._base import known_layer
from segrt.importers.layers import _activation_functions as functions
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, WeightSpec, as_stored
from segrt.importers.layers._custom_functions import hard_swish
from segrt.importers.layers._inputs import single, weight

_ADDONS = "tensorflow-addons"
_ADDONS_PACKAGES = ("Addons", "tensorflow_addons")


_PLAIN: dict[str, functions.Function] = {
    "Swish": functions.silu, "SiLU": functions.silu, "Mish": functions.mish,
    "ReLU6": functions.relu6, "Relu6": functions.relu6, "HardSwish": hard_swish,
    "Hswish": hard_swish, "HSwish": hard_swish,
}  # fmt: skip


@known_layer(*_PLAIN, origin="the function's definition")
def plain(call: Call, x: Tensor) -> Tensor:
    """Convert a class without settings that is named after its function."""
    x = single(call, x)
    return Tensor(_PLAIN[call.class_name](call, x), x.layout)


@known_layer(
    "GELU",
    origin="keras-unet-collection",
    packages=("keras_unet_collection",),
)
def gelu_of_unet_collection(call: Call, x: Tensor) -> Tensor:
    """Convert the approximation by tanh."""
    x = single(call, x)
    return Tensor(functions.gelu_tanh(call, x), x.layout)


@known_layer("GELU", origin=_ADDONS, packages=_ADDONS_PACKAGES, required=("approximate",))
def gelu_of_addons(call: Call, x: Tensor) -> Tensor:
    """Convert either form."""
    x = single(call, x)
    by_tanh = _config.flag(call, "approximate", True)
    return Tensor((functions.gelu_tanh if by_tanh else functions.gelu)(call, x), x.layout)


@known_layer(
    "Snake",
    origin="keras-unet-collection",
    packages=("keras_unet_collection",),
    required=("beta",),
    weights=as_stored,
)
def snake_of_unet_collection(call: Call, x: Tensor) -> Tensor:
    """Convert with the stored factor; where none is stored, with that of the settings."""
    stored = [float(array.reshape(())) for array in call.weights.values()]
    beta = stored[0] if stored else _config.number(call, "beta")
    return _snake(call, single(call, x), call.scalar("beta", beta))


def _frequency(_config: JsonObject, /) -> list[WeightSpec]:
    return [WeightSpec("frequency")]


@known_layer(
    "Snake",
    origin=_ADDONS,
    packages=_ADDONS_PACKAGES,
    required=("frequency_initializer",),
    weights=_frequency,
)
def snake_of_addons(call: Call, x: Tensor) -> Tensor:
    """Convert with the trained frequency, one for all channels."""
    frequency = call.weight("frequency", weight(call, "frequency", ()))
    return _snake(call, single(call, x), frequency)


def _snake(call: Call, x: Tensor, beta: ir.Value) -> Tensor:
    sine = call.op("Sin", [call.op("Mul", [x.value, beta], role="scaled")], role="wave")
    square = call.op("Mul", [sine, sine], role="square")
    ratio = call.op("Div", [square, beta], role="ratio")
    return Tensor(call.op("Add", [x.value, ratio], role="snake"), x.layout)
