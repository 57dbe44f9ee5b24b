"""Arithmetic of one tensor and of two."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, Support, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import missing, supported

_PAIRS = {
    "Add": "SUM", "Sub": "SUB", "Mul": "PROD", "Div": "DIV", "Max": "MAX", "Min": "MIN",
    "Pow": "POW",
}  # fmt: skip
_SINGLE = {
    "Exp": "EXP", "Log": "LOG", "Sqrt": "SQRT", "Reciprocal": "RECIP", "Abs": "ABS", "Neg": "NEG",
}  # fmt: skip


@rule(*_PAIRS)
def elementwise(place: Place, release: Release) -> Ruling:
    """Answer for two tensors: IElementWiseLayer, which broadcasts axes of size 1."""
    text = f"IElementWiseLayer {_PAIRS[place.node.op_type]}"
    return supported("TRT-ELEMENTWISE", text, release, "elementwise")


@rule(*_SINGLE)
def unary(place: Place, release: Release) -> Ruling:
    """Answer for one tensor: IUnaryLayer."""
    text = f"IUnaryLayer {_SINGLE[place.node.op_type]}"
    return supported("TRT-UNARY", text, release, "unary")


@rule("Erf")
def erf(_place: Place, release: Release) -> Ruling:
    """Answer for the error function, which the exact GELU needs."""
    if not release.has("erf"):
        return missing("TRT-ERF", "error function", release, "erf")
    return supported("TRT-ERF", "IUnaryLayer ERF", release, "erf")


@rule("Greater", "Less", "Where")
def comparison(place: Place, release: Release) -> Ruling:
    """Answer for comparing and choosing."""
    if not release.has("compare"):
        return missing("TRT-COMPARE", "comparison and selection", release, "compare")
    layer = "ISelectLayer" if place.node.op_type == "Where" else "IElementWiseLayer"
    return supported("TRT-COMPARE", f"{layer} ({place.node.op_type})", release, "compare")


@rule("Shrink")
def shrink(_place: Place, release: Release) -> Ruling:
    """Answer for soft and hard shrinking."""
    if not release.has("compare"):
        return missing("TRT-SHRINK", "comparison to compose it of", release, "compare")
    found = supported("TRT-SHRINK", "IElementWiseLayer and ISelectLayer", release, "compare")
    return Ruling(found.rule, Support.REWRITTEN, found.text, found.source, ("composed",))
