"""Sums, means and extremes over axes."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import rewritten, supported

_KINDS = {
    "ReduceSum": "SUM", "ReduceMean": "AVG", "ReduceMax": "MAX", "ReduceMin": "MIN",
    "ReduceProd": "PROD",
}  # fmt: skip


@rule(*_KINDS)
def reduction(place: Place, release: Release) -> Ruling:
    """Answer for reductions: IReduceLayer, axes as a bit mask."""
    text = f"IReduceLayer {_KINDS[place.node.op_type]}"
    return supported("TRT-REDUCE", text, release, "reduction")


_COMPOSED = {
    "ReduceL1": "ABS, then the sum", "ReduceL2": "squares, the sum, then SQRT",
    "ReduceLogSum": "the sum, then LOG", "ReduceSumSquare": "squares, then the sum",
    "ReduceLogSumExp": "EXP of the distance to the largest, the sum, then LOG",
    "LpNormalization": "the norm, then DIV",
}  # fmt: skip


@rule(*_COMPOSED)
def composed_reduction(place: Place, release: Release) -> Ruling:
    """Answer for reductions with a function before or behind."""
    text = f"IUnaryLayer, IElementWiseLayer and IReduceLayer: {_COMPOSED[place.node.op_type]}"
    return rewritten("TRT-REDUCE-COMPOSED", text, release, "reduction", "composed")
