"""What ends a network: a 1x1 convolution to few channels, and the decision behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segrt.cuda.image_operations import Decide
from segrt.cuda.operations import Chain, Convolution, Operation


def is_head(operation: Convolution) -> bool:
    """Say whether the head kernel can take a convolution: 1x1, few channels."""
    outputs, inputs, *window = operation.kernel.shape
    plain = operation.stride == (1, 1) and operation.before == operation.after == (0, 0)
    small = outputs <= 8 and inputs <= 64
    small = small and not operation.residual
    return plain and small and window == [1, 1] and operation.groups == 1


def decisions(maker: Operation, reader: Operation) -> tuple[Operation, ...] | None:
    """Let a head write the decision in the place of what it decides on."""
    if not isinstance(maker, Convolution) or maker.decision != "none" or not is_head(maker):
        return None
    if isinstance(reader, Decide):
        ordered = maker.activation in ("none", "sigmoid", "softmax")
        if reader.minimum or reader.last or not ordered:
            return None
        return (replace(maker, output=reader.output, decision="argmax"),)
    limit = _limit(maker, reader)
    if limit is None:
        return None
    return (replace(maker, output=reader.output, decision="threshold", limit=limit),)


def _limit(maker: Convolution, reader: Operation) -> float | None:
    """Return what a comparison's limit is before the activation; None if it is no comparison."""
    if not isinstance(reader, Chain) or len(reader.inputs) != 1:
        return None
    # A change of type behind a comparison changes no number.
    steps = [step for step in reader.steps if step.op != "identity"]
    if len(steps) != 1 or (steps[0].op, steps[0].other) != ("greater", "number"):
        return None
    limit = steps[0].settings[0]
    if maker.activation == "none":
        return limit
    within = maker.activation == "sigmoid" and 0 < limit < 1
    return float(np.log(limit / (1 - limit))) if within else None
