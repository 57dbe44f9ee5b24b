"""Concatenation: the skip connections."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import supported


@rule("Concat")
def concatenation(place: Place, release: Release) -> Ruling:
    """Answer for Concat: IConcatenationLayer."""
    axis = place.node.attributes["axis"].as_int()
    text = f"IConcatenationLayer, axis {axis} of N C H W"
    return supported("TRT-CONCAT", text, release, "concatenation")
