"""Arithmetic of one tensor and of two."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, Support, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import missing, rewritten, supported

_PAIRS = {
    "Add": "SUM", "Sub": "SUB", "Mul": "PROD", "Div": "DIV", "Max": "MAX", "Min": "MIN",
    "Pow": "POW", "Sum": "SUM",
}  # fmt: skip
_SINGLE = {
    "Exp": "EXP", "Log": "LOG", "Sqrt": "SQRT", "Reciprocal": "RECIP", "Abs": "ABS", "Neg": "NEG",
    "Sin": "SIN", "Cos": "COS", "Tan": "TAN", "Sinh": "SINH", "Cosh": "COSH", "Asin": "ASIN",
    "Acos": "ACOS", "Atan": "ATAN", "Asinh": "ASINH", "Acosh": "ACOSH", "Atanh": "ATANH",
    "Ceil": "CEIL", "Floor": "FLOOR",
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


@rule("Mean")
def mean(_place: Place, release: Release) -> Ruling:
    """Answer for the mean of several tensors."""
    text = "IElementWiseLayer SUM, then DIV by their number"
    return rewritten("TRT-MEAN", text, release, "elementwise", "sum, divided")


@rule("Mod")
def modulo(_place: Place, release: Release) -> Ruling:
    """Answer for the rest of a division, which is written out."""
    if not release.has("compare"):
        return missing("TRT-MOD", "comparison to compose it of", release, "compare")
    text = "IElementWiseLayer DIV or FLOOR_DIV, PROD and SUB; of floats exact up to rounding"
    return rewritten("TRT-MOD", text, release, "compare", "composed")


@rule("Sign", "Round", "IsNaN", "IsInf")
def late_unary(place: Place, release: Release) -> Ruling:
    """Answer for the functions that came later."""
    kind = place.node.op_type
    if not release.has("unary-logic"):
        return missing("TRT-UNARY-LATE", kind, release, "unary-logic")
    return supported("TRT-UNARY-LATE", f"IUnaryLayer {kind.upper()}", release, "unary-logic")


@rule("Erf")
def erf(_place: Place, release: Release) -> Ruling:
    """Answer for the error function, which the exact GELU needs."""
    if not release.has("erf"):
        return missing("TRT-ERF", "error function", release, "erf")
    return supported("TRT-ERF", "IUnaryLayer ERF", release, "erf")


@rule("Greater", "Less", "Equal", "And", "Or", "Xor", "Not", "Where")
def comparison(place: Place, release: Release) -> Ruling:
    """Answer for comparing and choosing."""
    if not release.has("compare"):
        return missing("TRT-COMPARE", "comparison and selection", release, "compare")
    layer = {"Where": "ISelectLayer", "Not": "IUnaryLayer"}.get(
        place.node.op_type, "IElementWiseLayer"
    )
    return supported("TRT-COMPARE", f"{layer} ({place.node.op_type})", release, "compare")


@rule("GreaterOrEqual", "LessOrEqual")
def comparison_or_equal(place: Place, release: Release) -> Ruling:
    """Answer for "or equal", which is written out."""
    if not release.has("compare"):
        return missing("TRT-COMPARE", "comparison", release, "compare")
    kind = "GREATER" if place.node.op_type == "GreaterOrEqual" else "LESS"
    text = f"IElementWiseLayer {kind}, EQUAL and OR"
    return rewritten("TRT-COMPARE-OR-EQUAL", text, release, "compare", "composed")


@rule("Shrink")
def shrink(_place: Place, release: Release) -> Ruling:
    """Answer for soft and hard shrinking."""
    if not release.has("compare"):
        return missing("TRT-SHRINK", "comparison to compose it of", release, "compare")
    found = supported("TRT-SHRINK", "IElementWiseLayer and ISelectLayer", release, "compare")
    return Ruling(found.rule, Support.REWRITTEN, found.text, found.source, ("composed",))
