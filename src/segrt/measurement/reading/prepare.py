"""Make a graph ready to be translated."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from segrt.graph.infer_shapes import infer_shapes
from segrt.measurement.reading.unquantised import drop_quantisation
from segrt.passes._base import PassContext
from segrt.passes.fold_constants import FoldConstants


def prepare(model: ir.Model) -> ir.Model:
    """Return a copy in which sizes that the graph computes itself are constants.

    Quantisation is taken out: whoever translates the graph computes it in floats.

    Args:
        model: All sizes of its inputs are known; not changed.
    """
    copy = model.clone()
    drop_quantisation(copy.graph)
    # Twice: a size that is known now makes the shapes behind it known.
    for _ in range(2):
        FoldConstants()(copy, PassContext())
        infer_shapes(copy.graph)
    RemoveUnusedNodesPass()(copy)
    return copy
