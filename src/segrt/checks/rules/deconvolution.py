"""Transposed convolutions."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import ints, missing, pads_note, rank, rewritten, supported


@rule("ConvTranspose")
def deconvolution(place: Place, release: Release) -> Ruling:
    """Answer for ConvTranspose: IDeconvolutionLayer, kernels I O H W, not flipped."""
    if rank(place) == 3:
        text = "IDeconvolutionLayer is 2-D: a third axis of size 1 is added and taken away"
        return rewritten("TRT-DECONV-1D", text, release, "deconvolution", "2-D of height 1")
    if rank(place) == 5 and not release.has("3-d"):
        return missing("TRT-DECONV-3D", "3-D deconvolution", release, "3-d")
    dilated = any(step != 1 for step in ints(place.node, "dilations"))
    if dilated and not release.has("deconvolution-dilation"):
        text = "a dilated kernel is written with zeros between its taps"
        return rewritten(
            "TRT-DECONV-DILATED", text, release, "deconvolution-dilation", "zeros between taps"
        )
    text = f"IDeconvolutionLayer, kernel as I O H W (CKRS){pads_note(place.node)}"
    if release.flavour == "rtx":
        text += "; in fp32 and fp16 (TensorRT for RTX 1.7.1 compiles no bf16 deconvolution)"
    return supported("TRT-DECONV", text, release, "deconvolution")
