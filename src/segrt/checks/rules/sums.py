"""Sums by letters, running sums, and images read at given places."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, Support, rule
from segrt.checks._release import Release, source_of
from segrt.checks.rules._answers import missing, supported, text_of


@rule("Einsum")
def einsum(place: Place, release: Release) -> Ruling:
    """Answer for Einsum: every axis has a letter, none twice in one operand."""
    equation = text_of(place.node, "equation", "").replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if "..." in equation or any(len(set(term)) != len(term) for term in terms):
        text = f"IEinsumLayer takes neither an ellipsis nor a diagonal ({equation})"
        return Ruling("TRT-EINSUM", Support.PLUGIN, text, source_of("einsum", release))
    if not release.has("einsum"):
        return missing("TRT-EINSUM", "einsum", release, "einsum")
    return supported("TRT-EINSUM", f"IEinsumLayer {equation}", release, "einsum")


@rule("CumSum")
def cumulative_sum(_place: Place, release: Release) -> Ruling:
    """Answer for running sums."""
    if not release.has("cumulative"):
        return missing("TRT-CUMSUM", "layer of running sums", release, "cumulative")
    return supported("TRT-CUMSUM", "ICumulativeLayer SUM", release, "cumulative")


@rule("GridSample")
def grid_sample(_place: Place, release: Release) -> Ruling:
    """Answer for sampling at given places."""
    if not release.has("grid-sample"):
        return missing("TRT-GRID-SAMPLE", "grid sample", release, "grid-sample")
    return supported("TRT-GRID-SAMPLE", "IGridSampleLayer", release, "grid-sample")
