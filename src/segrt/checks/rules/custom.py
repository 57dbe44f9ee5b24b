"""Custom operations: SegRT makes a plugin of each, where there are plugins of that kind."""

from __future__ import annotations

from segrt.checks._base import Place, Ruling, Support, rule
from segrt.checks._release import Release, first_with, source_of
from segrt.graph.custom_nodes import DOMAIN


@rule(DOMAIN)
def custom(place: Place, release: Release) -> Ruling:
    """Answer for any custom operation: its CUDA source becomes a plugin."""
    name, what = "TRT-CUSTOM-OP", f"custom operation {place.node.op_type!r}"
    source = source_of("aot-plugins", release)
    if release.has("aot-plugins"):
        text = f"{what}: a plugin compiled ahead of time, made of its CUDA source"
        return Ruling(name, Support.PLUGIN, text, source)
    text = (
        f"{what}: SegRT makes plugins for {first_with('aot-plugins')} and later; for {release} "
        "write one yourself"
    )
    return Ruling(name, Support.PLUGIN, text, source)
