"""Normalisations and softmax."""

from __future__ import annotations

from typing import Any

from segrt.measurement.torch_ops._base import REGISTRY, TorchStep


@REGISTRY.register("BatchNormalization")
def batch(step: TorchStep) -> Any:
    """Translate BatchNormalization as at inference."""
    x, scale, bias, mean, variance = step.inputs()
    epsilon = step.number("epsilon", 1e-5)
    return step.call(
        step.functional.batch_norm, x, mean, variance, scale, bias, False, 0.0, epsilon
    )


@REGISTRY.register("InstanceNormalization")
def instance(step: TorchStep) -> Any:
    """Translate InstanceNormalization."""
    x, scale, bias = step.inputs()
    epsilon = step.number("epsilon", 1e-5)
    return step.call(step.functional.instance_norm, x, None, None, scale, bias, True, 0.0, epsilon)


@REGISTRY.register("LayerNormalization")
def layer(step: TorchStep) -> Any:
    """Translate LayerNormalization."""
    if len(step.node.outputs) > 1:
        raise step.refuse(" with its mean")
    over = step.shape()[step.axis(-1) :]
    scale = step.call(step.torch.reshape, step.input(1), over)
    bias = step.call(step.torch.reshape, step.input(2), over) if step.has(2) else None
    epsilon = step.number("epsilon", 1e-5)
    return step.call(step.functional.layer_norm, step.input(0), over, scale, bias, epsilon)


@REGISTRY.register("Softmax")
def softmax(step: TorchStep) -> Any:
    """Translate Softmax."""
    return step.call(step.torch.softmax, step.input(0), step.axis(-1))


@REGISTRY.register("LogSoftmax")
def log_softmax(step: TorchStep) -> Any:
    """Translate LogSoftmax."""
    return step.call(step.torch.log_softmax, step.input(0), step.axis(-1))
