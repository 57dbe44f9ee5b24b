"""What the numbers of a network's output are, read off the operator that makes them."""

from __future__ import annotations

from typing import Literal

import onnx_ir as ir

# These move or rename values; they do not change what the values are.
_CARRIERS = {"Transpose", "Reshape", "Identity", "Cast", "Squeeze", "Unsqueeze", "Flatten"}
_CARRIERS |= {"Resize", "DepthToSpace", "Slice"}
_PROBABILITIES = {"Sigmoid", "Softmax", "HardSigmoid", "Clip"}


def output_kind(model: ir.Model, output: str | None = None) -> Literal["probabilities", "logits"]:
    """Say whether an output holds probabilities or logits.

    Args:
        model: The graph.
        output: The output's name; None is the first.

    Returns:
        ``probabilities`` if the last operator that computes is a sigmoid, a softmax or a clip
        (the last step of a hard sigmoid written out), else ``logits``.
    """
    named = [value for value in model.graph.outputs if value.name == output]
    value: ir.Value | None = named[0] if named else model.graph.outputs[0]
    while value is not None and (node := value.producer()) is not None:
        if node.op_type not in _CARRIERS:
            return "probabilities" if node.op_type in _PROBABILITIES else "logits"
        value = node.inputs[0]
    return "logits"
