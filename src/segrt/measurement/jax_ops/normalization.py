"""Normalisations and softmax."""

from __future__ import annotations

from typing import Any

from segrt.measurement.jax_ops._base import REGISTRY, JaxStep
from segrt.measurement.jax_ops._laid import Laid


@REGISTRY.register("BatchNormalization")
def batch(step: JaxStep) -> Laid:
    """Translate BatchNormalization as at inference."""
    scale, bias, mean, variance = (step.array(index) for index in range(1, 5))
    factor = scale / step.jnp.sqrt(variance + step.number("epsilon", 1e-5))
    x = step.laid(0)
    if x.rank == 2:
        return Laid(x.data * factor + (bias - mean * factor))
    return Laid(x.image * factor + (bias - mean * factor), last=True)


@REGISTRY.register("InstanceNormalization")
def instance(step: JaxStep) -> Laid:
    """Translate InstanceNormalization."""
    x = step.laid(0).image
    y = _normalised(step, x, tuple(range(1, x.ndim - 1)))
    return Laid(y * step.array(1) + step.array(2), last=True)


@REGISTRY.register("LayerNormalization")
def layer(step: JaxStep) -> Laid:
    """Translate LayerNormalization."""
    if len(step.node.outputs) > 1:
        raise step.refuse(" with its mean")
    x = step.array(0)
    y = _normalised(step, x, tuple(range(step.axis(-1), x.ndim))) * step.array(1)
    return Laid(y + step.array(2) if step.has(2) else y)


@REGISTRY.register("Softmax")
def softmax(step: JaxStep) -> Laid:
    """Translate Softmax."""
    x = step.laid(0)
    return Laid(step.jax.nn.softmax(x.data, axis=x.axis(step.axis(-1))), x.last)


@REGISTRY.register("LogSoftmax")
def log_softmax(step: JaxStep) -> Laid:
    """Translate LogSoftmax."""
    x = step.laid(0)
    return Laid(step.jax.nn.log_softmax(x.data, axis=x.axis(step.axis(-1))), x.last)


def _normalised(step: JaxStep, x: Any, axes: tuple[int, ...]) -> Any:
    mean = x.mean(axis=axes, keepdims=True)
    variance = step.jnp.square(x - mean).mean(axis=axes, keepdims=True)
    return (x - mean) / step.jnp.sqrt(variance + step.number("epsilon", 1e-5))
