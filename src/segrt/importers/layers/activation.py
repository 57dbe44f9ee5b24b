"""Activation and the activation layers without arrays of their own."""

from __future__ import annotations

from segrt.importers.layers import _activation_functions as functions
from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Tensor, keras_layer
from segrt.importers.layers._inputs import identity, single


@keras_layer("Activation")
def activation(call: Call, x: Tensor) -> Tensor:
    """Convert Activation; ``linear`` becomes Identity."""
    x = single(call, x)
    result = call.activation(x, call.config.get("activation"))
    return identity(call, x) if result.value is x.value else result


@keras_layer("ReLU")
def relu(call: Call, x: Tensor) -> Tensor:
    """Convert ReLU with ``max_value``, ``negative_slope`` and ``threshold``."""
    x = single(call, x)
    limit = _config.optional_number(call, "max_value")
    if limit is not None and limit < 0:
        raise call.unsupported("max_value", limit, "zero or more")
    value = functions.relu(
        call,
        x,
        max_value=limit,
        negative_slope=_config.optional_number(call, "negative_slope") or 0.0,
        threshold=_config.optional_number(call, "threshold") or 0.0,
    )
    return Tensor(value, x.layout)


@keras_layer("LeakyReLU")
def leaky_relu(call: Call, x: Tensor) -> Tensor:
    """Convert LeakyReLU; the slope is ``alpha`` in Keras 2, ``negative_slope`` in Keras 3."""
    x = single(call, x)
    key = "negative_slope" if "negative_slope" in call.config else "alpha"
    slope = _config.number(call, key, 0.3)
    return Tensor(call.op("LeakyRelu", [x.value], alpha=slope), x.layout)


@keras_layer("ELU")
def elu(call: Call, x: Tensor) -> Tensor:
    """Convert ELU."""
    x = single(call, x)
    return Tensor(call.op("Elu", [x.value], alpha=_config.number(call, "alpha", 1.0)), x.layout)


@keras_layer("ThresholdedReLU")
def thresholded_relu(call: Call, x: Tensor) -> Tensor:
    """Convert ThresholdedReLU: x above ``theta``, else 0."""
    x = single(call, x)
    theta = _config.number(call, "theta", 1.0)
    return Tensor(call.op("ThresholdedRelu", [x.value], alpha=theta), x.layout)
