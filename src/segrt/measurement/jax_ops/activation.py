"""Functions of one number, applied to each."""

from __future__ import annotations

from segrt.measurement.jax_ops._base import REGISTRY, JaxStep
from segrt.measurement.jax_ops._laid import Laid

_PLAIN = {
    "Abs": "abs", "Ceil": "ceil", "Cos": "cos", "Exp": "exp", "Floor": "floor", "Log": "log",
    "Neg": "negative", "Not": "logical_not", "Reciprocal": "reciprocal", "Round": "round",
    "Sign": "sign", "Sin": "sin", "Sqrt": "sqrt", "Tanh": "tanh",
}  # fmt: skip
_NEURAL = {
    "HardSwish": "hard_swish", "Mish": "mish", "Relu": "relu", "Sigmoid": "sigmoid",
    "Softplus": "softplus", "Softsign": "soft_sign",
}  # fmt: skip


@REGISTRY.register(*_PLAIN)
def plain(step: JaxStep) -> Laid:
    """Translate what ``jax.numpy`` has under another name."""
    return step.each(getattr(step.jnp, _PLAIN[step.node.op_type]))


@REGISTRY.register(*_NEURAL)
def neural(step: JaxStep) -> Laid:
    """Translate activations of ``jax.nn``."""
    return step.each(getattr(step.jax.nn, _NEURAL[step.node.op_type]))


@REGISTRY.register("Identity", "Dropout")
def identity(step: JaxStep) -> Laid:
    """Translate nothing."""
    return step.laid(0)


@REGISTRY.register("Erf")
def error_function(step: JaxStep) -> Laid:
    """Translate Erf."""
    return step.each(step.jax.lax.erf)


@REGISTRY.register("Elu")
def elu(step: JaxStep) -> Laid:
    """Translate Elu."""
    alpha = step.number("alpha", 1.0)
    return step.each(lambda x: step.jax.nn.elu(x, alpha))


@REGISTRY.register("Celu")
def celu(step: JaxStep) -> Laid:
    """Translate Celu."""
    alpha = step.number("alpha", 1.0)
    return step.each(lambda x: step.jax.nn.celu(x, alpha))


@REGISTRY.register("LeakyRelu")
def leaky_relu(step: JaxStep) -> Laid:
    """Translate LeakyRelu."""
    alpha = step.number("alpha", 0.01)
    return step.each(lambda x: step.jax.nn.leaky_relu(x, alpha))


@REGISTRY.register("Selu")
def selu(step: JaxStep) -> Laid:
    """Translate Selu; its two constants may be given."""
    alpha = step.number("alpha", 1.67326319217681884765625)
    gamma = step.number("gamma", 1.05070102214813232421875)
    return step.each(lambda x: gamma * step.jax.nn.elu(x, alpha))


@REGISTRY.register("HardSigmoid")
def hard_sigmoid(step: JaxStep) -> Laid:
    """Translate HardSigmoid."""
    alpha, beta = step.number("alpha", 0.2), step.number("beta", 0.5)
    return step.each(lambda x: step.jnp.clip(alpha * x + beta, 0, 1))


@REGISTRY.register("Gelu")
def gelu(step: JaxStep) -> Laid:
    """Translate Gelu."""
    rough = step.text("approximate", "none") == "tanh"
    return step.each(lambda x: step.jax.nn.gelu(x, approximate=rough))


@REGISTRY.register("PRelu")
def parametric_relu(step: JaxStep) -> Laid:
    """Translate PRelu, whose slopes are broadcast."""
    return step.together(lambda x, slopes: step.jnp.where(x > 0, x, slopes * x))


@REGISTRY.register("Clip")
def clip(step: JaxStep) -> Laid:
    """Translate Clip; its bounds are constants."""
    bounds = [
        None if held is None else held.reshape(()).item()
        for held in (step.constant(1), step.constant(2))
    ]
    return step.each(lambda x: step.jnp.clip(x, bounds[0], bounds[1]))
