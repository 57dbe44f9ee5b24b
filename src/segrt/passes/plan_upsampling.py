"""Choose and prove a form for every upsampling layer; see `segrt.passes.upsampling`."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from segrt.passes._base import REGISTRY, PassContext
from segrt.passes.upsampling._planner import rewrite
from segrt.types import Verdict


class PlanUpsampling:
    """The pass ``upsampling``."""

    name = "upsampling"

    def __call__(self, model: ir.Model, context: PassContext, /) -> Sequence[Verdict]:
        """Rewrite every upsampling layer to the first form that is proven there."""
        return rewrite(model, context)


REGISTRY.register(PlanUpsampling.name)(PlanUpsampling())
