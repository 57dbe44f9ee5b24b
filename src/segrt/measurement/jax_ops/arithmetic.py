"""Functions of two arrays or more, element by element."""

from __future__ import annotations

import functools

from segrt.measurement.jax_ops._base import REGISTRY, JaxStep
from segrt.measurement.jax_ops._laid import Laid

_PAIRS = {
    "Add": "add", "Sub": "subtract", "Mul": "multiply", "Pow": "power", "Equal": "equal",
    "Greater": "greater", "GreaterOrEqual": "greater_equal", "Less": "less",
    "LessOrEqual": "less_equal", "And": "logical_and", "Or": "logical_or", "Xor": "logical_xor",
    "Where": "where",
}  # fmt: skip
_MANY = {"Max": "maximum", "Min": "minimum", "Sum": "add"}
# ONNX's numbers of the types that are cast to.
_FLOATS = (1, 10, 11, 16)
_INTEGERS = {2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int32", 9: "bool_"}


@REGISTRY.register(*_PAIRS)
def pair(step: JaxStep) -> Laid:
    """Translate what ``jax.numpy`` has under another name."""
    return step.together(getattr(step.jnp, _PAIRS[step.node.op_type]))


@REGISTRY.register("Div")
def divide(step: JaxStep) -> Laid:
    """Translate Div, which cuts whole numbers off."""
    return step.together(step.jnp.divide if step.is_float() else step.jax.lax.div)


@REGISTRY.register("Mod")
def modulo(step: JaxStep) -> Laid:
    """Translate Mod: the sign is the divisor's, or with ``fmod`` the dividend's."""
    return step.together(step.jnp.fmod if step.integer("fmod") else step.jnp.mod)


@REGISTRY.register(*_MANY)
def many(step: JaxStep) -> Laid:
    """Translate folds over any number of arrays."""
    function = getattr(step.jnp, _MANY[step.node.op_type])
    return step.together(lambda *arrays: functools.reduce(function, arrays))


@REGISTRY.register("Cast")
def cast(step: JaxStep) -> Laid:
    """Translate Cast; all floating-point types are the function's own."""
    wanted = step.integer("to")
    if wanted in _FLOATS:
        return step.each(lambda x: x.astype(step.dtype))
    if wanted not in _INTEGERS:
        raise step.refuse(f" to type {wanted}")
    dtype = getattr(step.jnp, _INTEGERS[wanted])
    return step.each(lambda x: x.astype(dtype))
