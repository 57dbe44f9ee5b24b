"""Functions of two arrays or more, element by element."""

from __future__ import annotations

import functools
from typing import Any

from segrt.measurement.torch_ops._base import REGISTRY, TorchStep

_PAIRS = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Pow": "pow", "Equal": "eq", "Greater": "gt",
    "GreaterOrEqual": "ge", "Less": "lt", "LessOrEqual": "le", "And": "logical_and",
    "Or": "logical_or", "Xor": "logical_xor",
}  # fmt: skip
_MANY = {"Max": "maximum", "Min": "minimum", "Sum": "add"}
# ONNX's numbers of the types that are cast to.
_FLOATS = (1, 10, 11, 16)
_INTEGERS = {2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool"}


@REGISTRY.register(*_PAIRS)
def pair(step: TorchStep) -> Any:
    """Translate what PyTorch has under another name."""
    function = getattr(step.torch, _PAIRS[step.node.op_type])
    return step.call(function, step.input(0), step.input(1))


@REGISTRY.register("Div")
def divide(step: TorchStep) -> Any:
    """Translate Div, which cuts whole numbers off."""
    mode = None if step.is_float() else "trunc"
    return step.call(step.torch.div, step.input(0), step.input(1), rounding_mode=mode)


@REGISTRY.register("Mod")
def modulo(step: TorchStep) -> Any:
    """Translate Mod: the sign is the divisor's, or with ``fmod`` the dividend's."""
    function = step.torch.fmod if step.integer("fmod") else step.torch.remainder
    return step.call(function, step.input(0), step.input(1))


@REGISTRY.register(*_MANY)
def many(step: TorchStep) -> Any:
    """Translate folds over any number of arrays."""
    function = getattr(step.torch, _MANY[step.node.op_type])
    return functools.reduce(lambda a, b: step.call(function, a, b), step.inputs())


@REGISTRY.register("Where")
def where(step: TorchStep) -> Any:
    """Translate Where."""
    return step.call(step.torch.where, *step.inputs())


@REGISTRY.register("Cast")
def cast(step: TorchStep) -> Any:
    """Translate Cast; all floating-point types are the module's own."""
    wanted = step.integer("to")
    if wanted in _FLOATS:
        return step.call(step.torch.mul, step.input(0), step.tensor(_one()))
    if wanted not in _INTEGERS:
        raise step.refuse(f" to type {wanted}")
    dtype = getattr(step.torch, _INTEGERS[wanted])
    return step.call(step.torch.Tensor.to, step.input(0), dtype)


def _one() -> Any:
    import numpy as np

    # One number in an array of one axis: its type wins over a whole number's.
    return np.ones(1, np.float32)
