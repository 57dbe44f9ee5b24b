"""What is chosen by index, and the index of what is best."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import missing, rewritten, supported


@rule("Gather")
def gather(_place: Place, release: Release) -> Ruling:
    """Answer for entries along one axis."""
    return supported("TRT-GATHER", "IGatherLayer", release, "gather")


@rule("GatherElements", "GatherND")
def gather_by_mode(place: Place, release: Release) -> Ruling:
    """Answer for the two other ways to gather."""
    if not release.has("gather-modes"):
        return missing("TRT-GATHER-MODE", place.node.op_type, release, "gather-modes")
    mode = "ELEMENT" if place.node.op_type == "GatherElements" else "ND"
    return supported("TRT-GATHER-MODE", f"IGatherLayer, mode {mode}", release, "gather-modes")


@rule("OneHot")
def one_hot(_place: Place, release: Release) -> Ruling:
    """Answer for one-hot codes: each class compared with the index."""
    if not release.has("compare"):
        return missing("TRT-ONE-HOT", "comparison to compose it of", release, "compare")
    text = "the index compared with every class: IElementWiseLayer EQUAL, then ISelectLayer"
    return rewritten("TRT-ONE-HOT", text, release, "compare", "compared")


@rule("ArgMax", "ArgMin", "TopK")
def best(place: Place, release: Release) -> Ruling:
    """Answer for the best entries along one axis: ITopKLayer, k up to 3840."""
    kind = "MIN" if place.node.op_type == "ArgMin" else "MAX"
    text = f"ITopKLayer {kind} over one axis, k of at most 3840; indices are int32"
    return supported("TRT-TOPK", text, release, "top-k")


@rule("Split")
def split(_place: Place, release: Release) -> Ruling:
    """Answer for a tensor taken apart."""
    return supported("TRT-SPLIT", "one ISliceLayer a part", release, "slice")


@rule("Tile")
def tile(_place: Place, release: Release) -> Ruling:
    """Answer for a tensor beside itself."""
    text = "IConcatenationLayer of the tensor with itself, axis by axis"
    return rewritten("TRT-TILE", text, release, "concatenation", "concatenated with itself")
