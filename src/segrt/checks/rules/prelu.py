"""PReLU: a learned slope."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import rewritten, supported


@rule("PRelu")
def prelu(_place: Place, release: Release) -> Ruling:
    """Answer for PReLU; before the layer came, two ReLUs say the same bit for bit."""
    if release.has("parametric-relu"):
        text = "IParametricReLULayer, slopes as constants C x 1 x 1 or C x H x W"
        return supported("TRT-PRELU", text, release, "parametric-relu")
    text = "relu(x) - slope * relu(-x): activations, a scale and elementwise layers, bit-equal"
    return rewritten("TRT-PRELU", text, release, "parametric-relu", "relu(x) - slope * relu(-x)")
