"""Whether a network scales pixels itself."""

from __future__ import annotations

import onnx_ir as ir

from segrt.graph.metadata import class_of

_CARRIERS = {"Transpose", "Identity", "Cast"}
_RESCALING = {"Rescaling", "Normalization"}


def rescales_input(model: ir.Model) -> bool:
    """Say whether the first layer that computes is a Rescaling or Normalization layer.

    Such a network takes pixels as they are stored (0..255).
    """
    waiting = list(model.graph.inputs)
    while waiting:
        for node in waiting.pop().consumers():
            if class_of(node) in _RESCALING:
                return True
            if node.op_type in _CARRIERS:
                waiting.extend(node.outputs)
    return False
