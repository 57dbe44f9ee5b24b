"""Functions of one number, applied to each."""

from __future__ import annotations

from typing import Any

from segrt.measurement.torch_ops._base import REGISTRY, TorchStep

_PLAIN = {
    "Abs": "abs", "Ceil": "ceil", "Cos": "cos", "Erf": "erf", "Exp": "exp", "Floor": "floor",
    "Log": "log", "Neg": "neg", "Not": "logical_not", "Reciprocal": "reciprocal", "Relu": "relu",
    "Round": "round", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin", "Sqrt": "sqrt",
    "Tanh": "tanh",
}  # fmt: skip
_NEURAL = {
    "HardSwish": "hardswish", "Mish": "mish", "Softplus": "softplus", "Softsign": "softsign",
}  # fmt: skip


@REGISTRY.register(*_PLAIN)
def plain(step: TorchStep) -> Any:
    """Translate what PyTorch has under another name."""
    return step.call(getattr(step.torch, _PLAIN[step.node.op_type]), step.input(0))


@REGISTRY.register(*_NEURAL)
def neural(step: TorchStep) -> Any:
    """Translate activations of ``torch.nn.functional``."""
    return step.call(getattr(step.functional, _NEURAL[step.node.op_type]), step.input(0))


@REGISTRY.register("Identity", "Dropout")
def identity(step: TorchStep) -> Any:
    """Translate nothing."""
    return step.input(0)


@REGISTRY.register("Elu")
def elu(step: TorchStep) -> Any:
    """Translate Elu."""
    return step.call(step.functional.elu, step.input(0), step.number("alpha", 1.0))


@REGISTRY.register("Celu")
def celu(step: TorchStep) -> Any:
    """Translate Celu."""
    return step.call(step.functional.celu, step.input(0), step.number("alpha", 1.0))


@REGISTRY.register("LeakyRelu")
def leaky_relu(step: TorchStep) -> Any:
    """Translate LeakyRelu."""
    return step.call(step.functional.leaky_relu, step.input(0), step.number("alpha", 0.01))


@REGISTRY.register("Selu")
def selu(step: TorchStep) -> Any:
    """Translate Selu; its two constants may be given."""
    alpha = step.number("alpha", 1.67326319217681884765625)
    gamma = step.number("gamma", 1.05070102214813232421875)
    curve = step.call(step.functional.elu, step.input(0), alpha)
    return step.call(step.torch.mul, curve, gamma)


@REGISTRY.register("HardSigmoid")
def hard_sigmoid(step: TorchStep) -> Any:
    """Translate HardSigmoid."""
    line = step.call(step.torch.mul, step.input(0), step.number("alpha", 0.2))
    line = step.call(step.torch.add, line, step.number("beta", 0.5))
    return step.call(step.torch.clamp, line, 0.0, 1.0)


@REGISTRY.register("Gelu")
def gelu(step: TorchStep) -> Any:
    """Translate Gelu."""
    kind = step.text("approximate", "none")
    return step.call(step.functional.gelu, step.input(0), approximate=kind)


@REGISTRY.register("PRelu")
def parametric_relu(step: TorchStep) -> Any:
    """Translate PRelu, whose slopes are broadcast."""
    x, slopes = step.input(0), step.input(1)
    below = step.call(step.torch.mul, step.call(step.torch.clamp, x, max=0), slopes)
    return step.call(step.torch.add, step.call(step.torch.relu, x), below)


@REGISTRY.register("Clip")
def clip(step: TorchStep) -> Any:
    """Translate Clip; its bounds are constants."""
    low, high = step.constant(1), step.constant(2)
    bounds = [None if bound is None else bound.reshape(()).item() for bound in (low, high)]
    if bounds == [None, None]:
        return step.input(0)
    return step.call(step.torch.clamp, step.input(0), bounds[0], bounds[1])
