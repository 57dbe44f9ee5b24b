"""Pooling in windows, and over the whole image."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, Support, rule
from segrt.checks._release import Release, source_of
from segrt.checks.rules._answers import (
    ints,
    missing,
    pads_note,
    rank,
    rewritten,
    supported,
    text_of,
)


@rule("MaxPool", "AveragePool")
def pooling(place: Place, release: Release) -> Ruling:
    """Answer for pooling in windows: IPoolingLayer."""
    node = place.node
    if any(step != 1 for step in ints(node, "dilations")) or len(node.outputs) > 1:
        return _unfolded(place, release)
    if rank(place) == 3:
        text = "IPoolingLayer is 2-D: a third axis of size 1 is added and taken away"
        return rewritten("TRT-POOL-1D", text, release, "pooling", "2-D of height 1")
    if rank(place) == 5 and not release.has("3-d"):
        return missing("TRT-POOL-3D", "3-D pooling", release, "3-d")
    kind = "MAX" if node.op_type == "MaxPool" else "AVERAGE"
    if kind == "AVERAGE":
        counted = node.attributes.get("count_include_pad")
        excluded = counted is None or not counted.as_int()
        kind += f", average_count_excludes_padding {excluded}"
    return supported("TRT-POOL", f"IPoolingLayer {kind}{pads_note(node)}", release, "pooling")


def _unfolded(place: Place, release: Release) -> Ruling:
    """Answer for gaps in windows and for the places of maxima, which IPoolingLayer lacks."""
    node, lacks = place.node, "IPoolingLayer has neither dilation nor indices"
    padded = any(ints(node, "pads")) or text_of(node, "auto_pad", "NOTSET").startswith("SAME")
    needed = ["slice", *(["compare"] if len(node.outputs) > 1 else [])]
    needed += ["padding-by-slice"] if padded else []
    if node.op_type != "MaxPool" or not all(release.has(feature) for feature in needed):
        text = f"{lacks}: write a plugin"
        return Ruling("TRT-POOL-DILATED", Support.PLUGIN, text, source_of("pooling", release))
    text = f"{lacks}: the largest of strided slices, ISliceLayer and IElementWiseLayer MAX"
    return rewritten("TRT-POOL-DILATED", text, release, needed[-1], "unfolded to slices")


@rule("GlobalAveragePool", "GlobalMaxPool")
def global_pooling(place: Place, release: Release) -> Ruling:
    """Answer for pooling over the whole image: IReduceLayer."""
    kind = "AVG" if place.node.op_type == "GlobalAveragePool" else "MAX"
    text = f"IReduceLayer {kind} over height and width"
    return supported("TRT-POOL-GLOBAL", text, release, "reduction")
