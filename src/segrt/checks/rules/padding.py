"""Padding, and what is cut off."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import rewritten, supported, text_of


@rule("Pad")
def padding(place: Place, release: Release) -> Ruling:
    """Answer for Pad; inside a Conv2DTranspose it appends what TensorRT's layer would not."""
    mode = text_of(place.node, "mode", "constant")
    if place.class_name == "Conv2DTranspose":
        text = (
            "Keras' output is longer than IDeconvolutionLayer's: IPaddingLayer appends zeros, and "
            "the bias is added behind it"
        )
        return rewritten("TRT-DECONV-SHORT", text, release, "padding", "padding, then bias")
    if mode == "constant" and not _value(place):
        text = "folded into the convolution behind it where there is one, else IPaddingLayer"
        return supported("TRT-PAD", text, release, "padding")
    if release.has("padding-by-slice"):
        text = f"ISliceLayer beyond the borders, mode {mode}"
        return supported("TRT-PAD-MODE", text, release, "padding-by-slice")
    text = f"the border ({mode}) by ISliceLayer and IConcatenationLayer, row by row"
    return rewritten("TRT-PAD-MODE", text, release, "slice", "slices, concatenated")


@rule("Slice")
def slicing(_place: Place, release: Release) -> Ruling:
    """Answer for Slice and Cropping2D."""
    return supported("TRT-SLICE", "ISliceLayer", release, "slice")


def _value(place: Place) -> float:
    """Return what is padded with; unknown counts as not zero."""
    value = place.node.inputs[2] if len(place.node.inputs) > 2 else None
    if value is None:
        return 0.0
    return float("nan") if value.const_value is None else float(value.const_value.numpy().item())
