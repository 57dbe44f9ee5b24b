"""Triangles of matrices, and how many elements a tensor has."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import missing, rewritten


@rule("Trilu")
def triangle(_place: Place, release: Release) -> Ruling:
    """Answer for a triangle: what lies in it is chosen, the rest is zero."""
    if not release.has("compare"):
        return missing("TRT-TRIANGLE", "choice between two tensors", release, "compare")
    text = "ISelectLayer between the tensor and zero, by a constant or the places compared"
    return rewritten("TRT-TRIANGLE", text, release, "compare", "selected")


@rule("Size")
def size(_place: Place, release: Release) -> Ruling:
    """Answer for the number of elements."""
    if release.has("shape-tensors"):
        text = "the product of its sizes: IShapeLayer, then IReduceLayer PROD"
        return rewritten("TRT-SIZE", text, release, "shape-tensors", "multiplied")
    text = "sizes are computed: fix the image size, then they are constants"
    return rewritten("TRT-SIZE", text, release, "shape-tensors", "fixed size")
