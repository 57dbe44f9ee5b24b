"""What is chosen by index, and the index of what is best."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, Support, rule
from segrt.checks._release import Release, source_of
from segrt.checks.rules._answers import missing, rewritten, supported, text_of


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


@rule("ScatterElements", "ScatterND")
def scatter(place: Place, release: Release) -> Ruling:
    """Answer for entries overwritten: IScatterLayer, which adds up nothing."""
    if not release.has("scatter"):
        return missing("TRT-SCATTER", place.node.op_type, release, "scatter")
    mode = "ELEMENT" if place.node.op_type == "ScatterElements" else "ND"
    reduction = text_of(place.node, "reduction", "none")
    if reduction == "none":
        return supported("TRT-SCATTER", f"IScatterLayer, mode {mode}", release, "scatter")
    source = source_of("scatter", release)
    if reduction == "add" and mode == "ELEMENT":
        text = (
            "IScatterLayer only overwrites: the same where no place comes twice, as for the "
            "places of pooled maxima whose windows do not overlap; else refused"
        )
        return Ruling("TRT-SCATTER-ADD", Support.REWRITTEN, text, source, ("overwritten",))
    text = f"IScatterLayer only overwrites, and reduction is {reduction}: write a plugin"
    return Ruling("TRT-SCATTER-ADD", Support.PLUGIN, text, source)


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


@rule("ConstantOfShape")
def constant_of_shape(_place: Place, release: Release) -> Ruling:
    """Answer for one number everywhere: broadcast as an Expand is."""
    if not release.has("broadcast-slice"):
        return missing("TRT-FILL", "broadcast to a computed shape", release, "broadcast-slice")
    text = "one number broadcast by ISliceLayer with stride 0"
    return rewritten("TRT-FILL", text, release, "broadcast-slice", "broadcast")


@rule("Range")
def range_(_place: Place, release: Release) -> Ruling:
    """Answer for numbers one after the other."""
    if not release.has("fill"):
        return missing("TRT-RANGE", "range of computed length", release, "fill")
    return supported("TRT-RANGE", "IFillLayer LINSPACE, of whole numbers", release, "fill")
