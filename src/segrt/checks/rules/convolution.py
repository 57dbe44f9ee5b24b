"""Convolutions, grouped and depthwise too."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import missing, pads_note, rank, rewritten, supported


@rule("Conv")
def convolution(place: Place, release: Release) -> Ruling:
    """Answer for Conv: IConvolutionLayer, kernels O I H W."""
    axes = rank(place)
    if axes == 3:
        text = "IConvolutionLayer is 2-D: a third axis of size 1 is added and taken away"
        return rewritten("TRT-CONV-1D", text, release, "convolution", "2-D of height 1")
    if axes == 5:
        if not release.has("3-d"):
            return missing("TRT-CONV-3D", "3-D convolution", release, "3-d")
        return supported("TRT-CONV-3D", "IConvolutionLayer, 3-D", release, "3-d")
    text = f"IConvolutionLayer, kernel as O I H W{pads_note(place.node)}"
    return supported("TRT-CONV", text, release, "convolution")
