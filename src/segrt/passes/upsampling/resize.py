"""The form ``resize``: ONNX's own operator, in the one spelling that all engines read alike.

Nearest is written asymmetric + floor. Other spellings that happen to read the same pixels (half
pixel, rounded) are rewritten to it.
"""

from __future__ import annotations

import onnx_ir as ir

from segrt.passes._rewrite import Rewriter
from segrt.passes.upsampling._base import (
    REGISTRY,
    Candidate,
    Refusal,
    Site,
)
from segrt.passes.upsampling._sites import describe_foreign


class ResizeForm:
    """See the module's docstring."""

    name = "resize"

    def propose(self, site: Site, /) -> Candidate | Refusal:
        """Keep a good Resize, spell a correct one in the usual way."""
        if site.kind == "transposed convolution":
            return Refusal("it has weights of its own: a transposed convolution is no resize")
        if site.kind == "foreign" or site.rule is None:
            return Refusal(f"left as it is: {describe_foreign(site)}")
        usual = (site.rule.coordinates, site.rule.rounding) == ("asymmetric", "floor")
        keep = usual or site.kind == "bilinear"
        return Candidate(
            replaces=site.output,
            build=None if keep else lambda rewriter: _spell(rewriter, site),
            claim="bit-equal",
            reason=f"Resize ({site.rule})" if keep else f"{site.rule} reads the same pixels",
            probe=(1, 3, *site.probe),
        )


def _spell(rewriter: Rewriter, site: Site) -> ir.Value:
    return rewriter.op(
        "Resize",
        [site.source, None, site.node.inputs[2]],
        name=f"{site.layer}:resize",
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


REGISTRY.register(ResizeForm.name)(ResizeForm())
