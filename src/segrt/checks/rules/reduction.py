"""Sums, means and extremes over axes."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import supported

_KINDS = {
    "ReduceSum": "SUM", "ReduceMean": "AVG", "ReduceMax": "MAX", "ReduceMin": "MIN",
    "ReduceProd": "PROD",
}  # fmt: skip


@rule(*_KINDS)
def reduction(place: Place, release: Release) -> Ruling:
    """Answer for reductions: IReduceLayer, axes as a bit mask."""
    text = f"IReduceLayer {_KINDS[place.node.op_type]}"
    return supported("TRT-REDUCE", text, release, "reduction")
