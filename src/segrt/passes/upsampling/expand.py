"""The form ``expand``: N C H 1 W 1 broadcast to N C H fy W fx, then read as N C fy*H fx*W.

A volume takes eight axes so, the most that TensorRT has. No arithmetic at all, so it is bit-equal.
"""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.passes._rewrite import Rewriter
from segrt.passes.upsampling._base import (
    REGISTRY,
    Candidate,
    Refusal,
    Site,
)
from segrt.passes.upsampling._shuffle import with_sizes
from segrt.passes.upsampling._sites import describe_foreign


class ExpandForm:
    """See the module's docstring."""

    name = "expand"

    def propose(self, site: Site, /) -> Candidate | Refusal:
        """Propose it for nearest."""
        if site.kind == "transposed convolution":
            return Refusal("a transposed convolution does not repeat pixels")
        if site.kind == "foreign":
            return Refusal(describe_foreign(site))
        if site.kind == "bilinear":
            return Refusal("bilinear mixes pixels, repeating them does not")
        _, channels, *sizes = static_shape(site.source)
        known = tuple(size for size in sizes if size is not None)
        # Known sizes are written into the graph, so the probe must have them; two channels of
        # the real image are enough, unless the number of channels is unknown too.
        probe = (1, channels or 2, *known)
        if len(known) < len(sizes):
            probe = (1, channels or 2, *site.probe)
        elif prod(known) > _LARGE:
            probe = (1, 2, *known)
        return Candidate(
            replaces=site.output,
            build=lambda rewriter: _build(rewriter, site),
            claim="bit-equal",
            reason="pixels are repeated, nothing is computed",
            probe=probe,
        )


# Pixels above which a probe has two channels only.
_LARGE = 1024


def _build(rewriter: Rewriter, site: Site) -> ir.Value:
    axes = rewriter.ints(f"{site.layer}:axes", [3 + 2 * axis for axis in range(len(site.factors))])
    apart = rewriter.op("Unsqueeze", [site.source, axes], name=f"{site.layer}:apart")
    repeats = [size for factor in site.factors for size in (1, factor)]
    sizes = rewriter.ints(f"{site.layer}:repeats", (1, 1, *repeats))
    wide = rewriter.op("Expand", [apart, sizes], name=f"{site.layer}:wide")
    # The channels are kept by a 0, so that a probe may have fewer.
    return with_sizes(
        rewriter, wide, site.source, (0, 0), site.factors, name=f"{site.layer}:expanded"
    )


REGISTRY.register(ExpandForm.name)(ExpandForm())
