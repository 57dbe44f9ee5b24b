"""Activation functions of one tensor."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import rewritten, supported

_TYPES = {
    "Relu": "RELU", "Sigmoid": "SIGMOID", "Tanh": "TANH", "LeakyRelu": "LEAKY_RELU", "Elu": "ELU",
    "Selu": "SELU", "Softplus": "SOFTPLUS", "Softsign": "SOFTSIGN", "Clip": "CLIP",
    "HardSigmoid": "HARD_SIGMOID", "ThresholdedRelu": "THRESHOLDED_RELU",
}  # fmt: skip
_NUMBERS = ("alpha", "beta", "gamma")


@rule(*_TYPES)
def activation(place: Place, release: Release) -> Ruling:
    """Answer for what IActivationLayer has by name; numbers are written out, never defaults."""
    kind = _TYPES[place.node.op_type]
    attributes = place.node.attributes
    numbers = [f"{key} {attributes[key].as_float():g}" for key in _NUMBERS if key in attributes]
    text = ", ".join([f"IActivationLayer {kind}", *numbers])
    return supported("TRT-ACTIVATION", text, release, "activation")


@rule("Celu")
def celu(_place: Place, release: Release) -> Ruling:
    """Answer for CELU, which is an ELU of a scaled input, scaled back."""
    text = "IScaleLayer and IActivationLayer ELU: alpha * elu(x / alpha) below 0, x above"
    return rewritten("TRT-CELU", text, release, "activation", "scaled ELU")


@rule("HardSwish", "Mish")
def gated(place: Place, release: Release) -> Ruling:
    """Answer for activations that are their input times another activation of it."""
    gate = "HARD_SIGMOID" if place.node.op_type == "HardSwish" else "TANH of SOFTPLUS"
    text = f"IElementWiseLayer PROD of the input and IActivationLayer {gate}"
    return rewritten("TRT-GATED", text, release, "activation", "composed")


@rule("Gelu")
def gelu(place: Place, release: Release) -> Ruling:
    """Answer for GELU as one operator."""
    approximate = place.node.attributes.get("approximate")
    tanh = approximate is not None and approximate.as_string() == "tanh"
    if release.has("gelu"):
        text = f"IActivationLayer {'GELU_TANH' if tanh else 'GELU_ERF'}"
        return supported("TRT-GELU", text, release, "gelu")
    needs = "activation" if tanh else "erf"
    text = f"composed of {'TANH' if tanh else 'ERF'} and elementwise layers"
    return rewritten("TRT-GELU", text, release, needs, "composed")
