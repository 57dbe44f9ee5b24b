"""Activations: TensorRT's own where it has them, else made of others."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from segrt.targets.trt._writer import Tensor, Writer
from segrt.targets.trt.layers._base import converts

_LARGEST = float(np.finfo(np.float32).max)
# ONNX operator: TensorRT's kind, (ONNX attribute, default) of alpha and of beta.
_KINDS: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "Relu": ("RELU", ()),
    "Sigmoid": ("SIGMOID", ()),
    "Tanh": ("TANH", ()),
    "Softsign": ("SOFTSIGN", ()),
    "LeakyRelu": ("LEAKY_RELU", (("alpha", 0.01),)),
    "Elu": ("ELU", (("alpha", 1.0),)),
    # Given in full, because single precision's nearest numbers are ONNX' defaults.
    "Selu": ("SELU", (("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875))),
    "HardSigmoid": ("HARD_SIGMOID", (("alpha", 0.2), ("beta", 0.5))),
    "ThresholdedRelu": ("THRESHOLDED_RELU", (("alpha", 1.0),)),
}


@converts(*_KINDS)
def activation(writer: Writer, node: ir.Node) -> Tensor:
    """Write an activation layer; its numbers are always set, the defaults differ."""
    kind, names = _KINDS[node.op_type]
    values = [node.attributes.get_float(name, default) for name, default in names]
    return writer.activation(writer.tensor(node.inputs[0]), kind, *values)


@converts("Softplus")
def softplus(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``log(1 + exp(x))``."""
    return writer.activation(writer.tensor(node.inputs[0]), "SOFTPLUS", 1.0, 1.0)


@converts("Clip")
def clip(writer: Writer, node: ir.Node) -> Tensor:
    """Write a clip; limits that are computed become a maximum and a minimum."""
    x = writer.tensor(node.inputs[0])
    given = [value for value in node.inputs[1:3] if value is not None]
    if any(writer.array(value) is None for value in given):
        return _clip_by_tensors(writer, node, x)
    limits = []
    for index, free in ((1, -_LARGEST), (2, _LARGEST)):
        value = node.inputs[index] if len(node.inputs) > index else None
        limit = free if value is None else float(writer.required(value, "a limit").reshape(()))
        limits.append(min(max(limit, -_LARGEST), _LARGEST))
    return writer.activation(x, "CLIP", *limits)


def _clip_by_tensors(writer: Writer, node: ir.Node, x: Tensor) -> Tensor:
    bounds = list(zip(("MAX", "MIN"), node.inputs[1:3], strict=False))
    known = [(kind, value) for kind, value in bounds if value is not None]
    for kind, value in known:
        limit = writer.tensor(value, rank=len(x.shape))
        x = writer.elementwise(x, limit, kind, "" if value is known[-1][1] else "raised")
    return x


@converts("PRelu")
def prelu(writer: Writer, node: ir.Node) -> Tensor:
    """Write a parametric ReLU; slopes broadcast."""
    x = writer.tensor(node.inputs[0])
    slopes = writer.tensor(node.inputs[1], rank=len(x.shape))
    return writer.layer(writer.network.add_parametric_relu(x, slopes))


@converts("Gelu")
def gelu(writer: Writer, node: ir.Node) -> Tensor:
    """Write a GELU, exact or by tanh."""
    approximate = node.attributes.get_string("approximate", "none") == "tanh"
    kind = "GELU_TANH" if approximate else "GELU_ERF"
    return writer.activation(writer.tensor(node.inputs[0]), kind)


@converts("HardSwish")
def hard_swish(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``x * hard_sigmoid(x)``."""
    x = writer.tensor(node.inputs[0])
    gate = writer.activation(x, "HARD_SIGMOID", 1 / 6, 0.5, role="gate")
    return writer.elementwise(x, gate, "PROD")


@converts("Mish")
def mish(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``x * tanh(softplus(x))``."""
    x = writer.tensor(node.inputs[0])
    gate = writer.activation(x, "SOFTPLUS", 1.0, 1.0, role="softplus")
    return writer.elementwise(x, writer.activation(gate, "TANH", role="gate"), "PROD")


@converts("Celu")
def celu(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``alpha * elu(x / alpha)``, which is what CELU is."""
    x = writer.tensor(node.inputs[0])
    alpha = node.attributes.get_float("alpha", 1.0)
    if math.isclose(alpha, 1.0):
        return writer.activation(x, "ELU", 1.0)
    inner = writer.elementwise(x, writer.scalar(1 / alpha, x, "inverse"), "PROD", "shrunk")
    bent = writer.activation(inner, "ELU", 1.0, role="elu")
    return writer.elementwise(bent, writer.scalar(alpha, x, "alpha"), "PROD")


@converts("Shrink")
def shrink(writer: Writer, node: ir.Node) -> Tensor:
    """Write ``x + bias`` below ``-lambd``, ``x - bias`` above ``lambd``, 0 between."""
    x = writer.tensor(node.inputs[0])
    level = node.attributes.get_float("lambd", 0.5)
    bias = node.attributes.get_float("bias", 0.0)
    offset, zero = writer.scalar(bias, x, "bias"), writer.scalar(0.0, x, "zero")
    high, low = writer.scalar(level, x, "high"), writer.scalar(-level, x, "low")
    above = writer.elementwise(x, high, "GREATER", "above")
    below = writer.elementwise(x, low, "LESS", "below")
    lowered = writer.elementwise(x, offset, "SUB", "lowered")
    raised = writer.elementwise(x, offset, "SUM", "raised")
    inner = writer.layer(writer.network.add_select(below, raised, zero), "raised or zero")
    return writer.layer(writer.network.add_select(above, lowered, inner))
