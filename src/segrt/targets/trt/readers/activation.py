"""Activations, clips and parametric ReLU."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

from segrt.targets.trt.readers._base import Reader, reads

_PLAIN = {
    "RELU": "Relu", "SIGMOID": "Sigmoid", "TANH": "Tanh", "SOFTSIGN": "Softsign",
}  # fmt: skip
_WITH_ALPHA = {"LEAKY_RELU": "LeakyRelu", "ELU": "Elu", "THRESHOLDED_RELU": "ThresholdedRelu"}


@reads("ACTIVATION")
def activation(reader: Reader, layer: Any) -> ir.Value:  # noqa: PLR0911 - one a kind
    """Read an activation with the numbers that TensorRT holds."""
    # As an IActivationLayer, `type` is the kind of activation.
    kind, x = reader.enum(layer.type), reader.input(0)
    alpha, beta = float(layer.alpha), float(layer.beta)
    if kind in _PLAIN:
        return reader.op(_PLAIN[kind], [x])
    if kind in _WITH_ALPHA:
        return reader.op(_WITH_ALPHA[kind], [x], alpha=alpha)
    if kind == "SELU":
        return reader.op("Selu", [x], alpha=alpha, gamma=beta)
    if kind == "HARD_SIGMOID":
        return reader.op("HardSigmoid", [x], alpha=alpha, beta=beta)
    if kind == "CLIP":
        return reader.op("Clip", [x, reader.scalar(alpha), reader.scalar(beta)])
    if kind == "SOFTPLUS":
        inner = x if beta == 1 else reader.op("Mul", [x, reader.scalar(beta)])
        outer = reader.op("Softplus", [inner])
        return outer if alpha == 1 else reader.op("Mul", [outer, reader.scalar(alpha)])
    if kind == "SCALED_TANH":
        inner = reader.op("Tanh", [reader.op("Mul", [x, reader.scalar(beta)])])
        return reader.op("Mul", [inner, reader.scalar(alpha)])
    if kind == "GELU_ERF":
        share = reader.op("Erf", [reader.op("Mul", [x, reader.scalar(math.sqrt(0.5))])])
        return _gate(reader, x, share)
    if kind == "GELU_TANH":
        cube = reader.op("Mul", [reader.op("Mul", [x, x]), x])
        bent = reader.op("Add", [x, reader.op("Mul", [cube, reader.scalar(0.044715)])])
        factor = reader.scalar(math.sqrt(2 / math.pi))
        return _gate(reader, x, reader.op("Tanh", [reader.op("Mul", [bent, factor])]))
    raise reader.refuse(f"activation {kind}", "a known one")


def _gate(reader: Reader, x: ir.Value, share: ir.Value) -> ir.Value:
    """Return ``x / 2 * (1 + share)``."""
    half = reader.op("Mul", [x, reader.scalar(0.5)])
    return reader.op("Mul", [half, reader.op("Add", [share, reader.scalar(1.0)])])


@reads("PARAMETRIC_RELU")
def parametric_relu(reader: Reader, _layer: Any) -> ir.Value:
    """Read a parametric ReLU."""
    return reader.op("PRelu", [reader.input(0), reader.input(1)])
