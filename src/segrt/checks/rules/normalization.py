"""Normalizations that compute their statistics at inference."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import rewritten, supported


@rule("LayerNormalization", "GroupNormalization", "InstanceNormalization")
def normalization(_place: Place, release: Release) -> Ruling:
    """Answer for INormalizationLayer, whose scale became one a channel in 10.15."""
    if release.has("normalization-v2"):
        text = "INormalizationLayer (addNormalizationV2), epsilon written out"
        return supported("TRT-NORMALIZATION", text, release, "normalization-v2")
    if release.has("normalization"):
        text = "INormalizationLayer with ones and zeros, then scale and shift by IElementWiseLayer"
        return rewritten(
            "TRT-NORMALIZATION", text, release, "normalization", "normalized, then scaled"
        )
    text = "composed of IReduceLayer, IElementWiseLayer and IUnaryLayer"
    return rewritten("TRT-NORMALIZATION", text, release, "reduction", "composed")
