"""ONNX's element-by-element operators as steps of the pointwise kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Chain

# Operator -> step, and its settings: attribute names with ONNX's defaults.
_PLAIN: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {
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
_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "max", "Min": "min"}
_SWAPPED = {"sub": "rsub", "div": "rdiv"}


def read_chain(node: ir.Node, layer: str) -> Chain | None:  # noqa: PLR0911 - one per kind
    """Return a node as a chain of one step (two for a normalisation); None if it is none."""
    names = tuple(value.name or "" for value in node.inputs if value is not None)
    output = node.outputs[0].name or ""
    if node.op_type in _PLAIN:
        op, wanted = _PLAIN[node.op_type]
        settings = tuple(_attribute(node, name, default) for name, default in wanted)
        return Chain(layer, names[:1], output, (Step(op, "", settings),))
    if node.op_type == "Softmax" and _axis(node) in (1, -3):
        return Chain(layer, names[:1], output, (Step("softmax"),))
    if node.op_type == "Clip":
        return Chain(layer, names[:1], output, (Step("clip", "", _bounds(node)),))
    if node.op_type == "PRelu":
        return _with_constant(node, layer, "prelu", 1)
    if node.op_type == "BatchNormalization":
        return _normalisation(node, layer)
    if node.op_type in _BINARY and len(names) == 2:
        return _binary(node, layer, _BINARY[node.op_type])
    return None


def constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """Return the array of an initializer, None for anything else."""
    if value is None or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())


def _binary(node: ir.Node, layer: str, op: str) -> Chain | None:
    left, right = node.inputs[0], node.inputs[1]
    if constant(right) is not None:
        return _with_constant(node, layer, op, 1)
    if constant(left) is not None:
        return _with_constant(node, layer, _SWAPPED.get(op, op), 0)
    if left is None or right is None or list(left.shape or ()) != list(right.shape or ()):
        return None
    names = (left.name or "", right.name or "")
    return Chain(layer, names, node.outputs[0].name or "", (Step(op, "image"),))


def _with_constant(node: ir.Node, layer: str, op: str, index: int) -> Chain | None:
    array, image = constant(node.inputs[index]), node.inputs[1 - index]
    if array is None or image is None or image.shape is None or len(image.shape) != 4:
        return None
    output = node.outputs[0].name or ""
    if array.size == 1:
        step = Step(op, "number", (float(array.reshape(-1)[0]),))
        return Chain(layer, (image.name or "",), output, (step,))
    channels = image.shape[1]
    shape = (1,) * (4 - array.ndim) + array.shape
    if shape != (1, channels, 1, 1):
        return None
    vector = array.reshape(-1).astype(np.float32)
    return Chain(layer, (image.name or "",), output, (Step(op, "channel"),), (vector,))


def _normalisation(node: ir.Node, layer: str) -> Chain | None:
    arrays = [constant(value) for value in node.inputs[1:5]]
    if node.inputs[0] is None or any(array is None for array in arrays):
        return None
    scale, shift, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    factor = scale / np.sqrt(variance + _attribute(node, "epsilon", 1e-5))
    vectors = (factor.astype(np.float32), (shift - mean * factor).astype(np.float32))
    steps = (Step("mul", "channel"), Step("add", "channel"))
    return Chain(layer, (node.inputs[0].name or "",), node.outputs[0].name or "", steps, vectors)


def _bounds(node: ir.Node) -> tuple[float, float]:
    ends = [-np.inf, np.inf]
    for index, value in enumerate(node.inputs[1:3]):
        array = constant(value)
        if array is not None:
            ends[index] = float(array)
    return ends[0], ends[1]


def _axis(node: ir.Node) -> int:
    return node.attributes["axis"].as_int() if "axis" in node.attributes else -1


def _attribute(node: ir.Node, name: str, default: float) -> float:
    return node.attributes[name].as_float() if name in node.attributes else default
