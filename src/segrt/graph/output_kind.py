"""What the numbers of a network's output are, read off the operator that makes them."""

from __future__ import annotations

from typing import Literal

import onnx_ir as ir

from segrt.graph.ends import read_ends

# These move or rename values; they do not change what the values are.
_CARRIERS = {"Transpose", "Reshape", "Identity", "Cast", "Squeeze", "Unsqueeze", "Flatten"}
_CARRIERS |= {"Resize", "DepthToSpace", "Slice"}
_PROBABILITIES = {"Sigmoid", "Softmax", "HardSigmoid", "Clip"}


def output_kind(
    model: ir.Model, output: str | None = None
) -> Literal["probabilities", "logits", "binary", "classes"]:
    """Say whether an output holds probabilities, logits or a mask.

    Args:
        model: The graph.
        output: The output's name; None is the first.

    Returns:
        ``binary`` or ``classes`` for masks that the graph makes itself (0 and 1, or class numbers);
        ``probabilities`` if the last operator that computes is a sigmoid, a softmax or a clip
        (the last step of a hard sigmoid written out), else ``logits``.
    """
    named = [value for value in model.graph.outputs if value.name == output]
    value: ir.Value | None = named[0] if named else model.graph.outputs[0]
    mask = None if value is None else read_ends(model).masks.get(str(value.name))
    if mask is not None:
        return "classes" if mask.threshold is None else "binary"
    while value is not None and (node := value.producer()) is not None:
        if node.op_type not in _CARRIERS:
            return "probabilities" if node.op_type in _PROBABILITIES else "logits"
        value = node.inputs[0]
    return "logits"
