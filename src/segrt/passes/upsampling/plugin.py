"""The form ``plugin``: a custom operation, for which engines get a CUDA kernel of SegRT's own.

For full TensorRT it becomes a plugin. Engines upsample well themselves, so no target prefers it:
it is there to be asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from segrt.graph.custom.upsample_bilinear import upsample_bilinear
from segrt.graph.custom.upsample_nearest import upsample_nearest
from segrt.passes._rewrite import Rewriter
from segrt.passes.upsampling._base import (
    PROBE_HEIGHT,
    PROBE_WIDTH,
    REGISTRY,
    Candidate,
    Refusal,
    Site,
)
from segrt.passes.upsampling._sites import describe_foreign


class PluginForm:
    """See the module's docstring."""

    name = "plugin"

    def propose(self, site: Site, /) -> Candidate | Refusal:
        """Propose it for nearest, and for bilinear with half-pixel coordinates."""
        if site.kind == "transposed convolution":
            return Refusal("a transposed convolution has weights of its own")
        if len(site.factors) != 2:
            return Refusal("the kernels are for images only")
        if site.kind == "foreign" or site.rule is None:
            return Refusal(describe_foreign(site))
        if site.kind == "bilinear" and site.rule.coordinates == "asymmetric":
            return Refusal("the kernel has half-pixel coordinates, the layer asymmetric ones")
        return Candidate(
            replaces=site.output,
            build=_builder(site),
            claim="bit-equal" if site.kind == "nearest" else "up to rounding",
            reason="a CUDA kernel of SegRT's own",
            probe=(1, 3, PROBE_HEIGHT, PROBE_WIDTH),
        )


def _builder(site: Site) -> Callable[[Rewriter], ir.Value]:
    op = upsample_nearest if site.kind == "nearest" else upsample_bilinear
    rows, columns = site.factors
    return lambda rewriter: rewriter.op(
        op, [site.source], name=f"{site.layer}:plugin", rows=rows, columns=columns
    )


REGISTRY.register(PluginForm.name)(PluginForm())
