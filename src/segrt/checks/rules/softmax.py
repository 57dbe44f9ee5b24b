"""Softmax and its logarithm."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import rewritten, supported


@rule("Softmax")
def softmax(place: Place, release: Release) -> Ruling:
    """Answer for softmax over one axis."""
    axis = place.node.attributes.get("axis")
    number = -1 if axis is None else axis.as_int()
    text = f"ISoftMaxLayer, axes set to axis {number} (the default depends on the rank)"
    return supported("TRT-SOFTMAX", text, release, "softmax")


@rule("LogSoftmax")
def log_softmax(_place: Place, release: Release) -> Ruling:
    """Answer for the logarithm of softmax."""
    text = "ISoftMaxLayer, then IUnaryLayer LOG"
    return rewritten("TRT-LOGSOFTMAX", text, release, "softmax", "softmax, log")
