"""Batch normalization at inference."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import supported


@rule("BatchNormalization")
def batch_normalization(place: Place, release: Release) -> Ruling:
    """Answer for BatchNormalization: a scale and a shift for each channel."""
    epsilon = place.node.attributes.get("epsilon")
    value = 1e-5 if epsilon is None else epsilon.as_float()
    text = (
        "folded into the convolution in front of it where there is one, else IScaleLayer CHANNEL "
        f"with scale gamma / sqrt(variance + {value:g})"
    )
    return supported("TRT-BATCHNORM", text, release, "scale")
