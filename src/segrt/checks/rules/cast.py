"""Changes of type, mostly of an input that is not float32."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, rule
from segrt.checks._release import Release
from segrt.checks.rules._answers import rewritten, supported


@rule("Cast")
def cast(_place: Place, release: Release) -> Ruling:
    """Answer for Cast."""
    if release.has("cast"):
        return supported("TRT-CAST", "ICastLayer", release, "cast")
    text = "the input is given as float32: the caller casts"
    return rewritten("TRT-CAST", text, release, "cast", "cast before the network")
