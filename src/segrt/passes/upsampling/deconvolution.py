"""The form ``deconvolution``: a depthwise transposed convolution, kernel = stride = factor, ones.

Each input pixel is multiplied by one, once, into its own block: bit-equal, on any engine.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.passes._rewrite import Rewriter
from segrt.passes.upsampling._base import (
    REGISTRY,
    Candidate,
    Refusal,
    Site,
)
from segrt.passes.upsampling._sites import describe_foreign


class DeconvolutionForm:
    """See the module's docstring."""

    name = "deconvolution"

    def propose(self, site: Site, /) -> Candidate | Refusal:
        """Propose it for nearest; a transposed convolution is one already."""
        channels = static_shape(site.source)[1]
        if channels is None:
            return Refusal("the number of channels is unknown")
        probe = (1, channels, *site.probe)
        if site.kind == "transposed convolution":
            reason = "it is a transposed convolution already"
            return Candidate(site.output, None, "bit-equal", reason, probe)
        if site.kind == "foreign":
            return Refusal(describe_foreign(site))
        if site.kind == "bilinear":
            return Refusal("bilinear repeats the border pixels, a transposed convolution does not")
        return Candidate(
            replaces=site.output,
            build=lambda rewriter: _build(rewriter, site, channels),
            claim="bit-equal",
            reason="one product with one a pixel",
            probe=probe,
        )


def _build(rewriter: Rewriter, site: Site, channels: int) -> ir.Value:
    ones = np.ones((channels, 1, *site.factors), np.float32)
    return rewriter.op(
        "ConvTranspose",
        [site.source, rewriter.constant(f"{site.layer}:ones", ones)],
        name=f"{site.layer}:deconvolution",
        group=channels,
        kernel_shape=site.factors,
        strides=site.factors,
    )


REGISTRY.register(DeconvolutionForm.name)(DeconvolutionForm())
