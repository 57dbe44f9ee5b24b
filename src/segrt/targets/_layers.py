"""The table ``layers.json``: where every Keras layer went."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from segrt.graph import metadata


def layer_table(
    imported: ir.Model,
    lowered: ir.Model,
    engine: Mapping[str, Sequence[str]] | None = None,
    pieces: Mapping[str, str] | None = None,
) -> str:
    """Describe, for every Keras value, what became of it.

    Args:
        imported: The graph before any pass.
        lowered: The graph that the engine runs.
        engine: Node of ``lowered`` -> the engine's own layers it became part of, if known.
        pieces: Node of ``lowered`` -> the piece it is in, where there is a mix of engines.

    Returns:
        JSON: a list, in the imported graph's order, of objects with ``keras`` (value name),
        ``class`` (Keras class), ``imported`` and ``lowered`` (node names), ``present`` (the
        lowered graph still has the value), ``recovered_from`` (the value it follows from, or
        null), ``fused`` (why it is gone, or null), ``engine`` (the engine's own layers) and
        ``pieces`` (in a mix of engines, which run it).
    """
    kernels, places = engine or {}, pieces or {}
    before, after = _nodes(imported), _nodes(lowered)
    classes = {metadata.layer_of(node): metadata.class_of(node) for node in imported.graph}
    present = {name for name, _ in metadata.keras_values(lowered.graph)}
    recovered = _recovered(lowered)
    fused = metadata.fused(lowered)
    names = dict.fromkeys(name for name, _ in metadata.keras_values(imported.graph))
    rows: list[dict[str, Any]] = [
        {
            "keras": name,
            "class": classes.get(name, ""),
            "imported": before.get(name, []),
            "lowered": after.get(name, []),
            "present": name in present,
            "recovered_from": recovered.get(name),
            "fused": fused.get(name),
            "engine": _distinct(kernels.get(node, ()) for node in after.get(name, [])),
            "pieces": _distinct([places[node]] for node in after.get(name, []) if node in places),
        }
        for name in names
    ]
    return json.dumps(rows, indent=1) + "\n"


def _distinct(groups: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


def _nodes(model: ir.Model) -> dict[str, list[str]]:
    """Return Keras value -> names of its nodes."""
    table: dict[str, list[str]] = {}
    for node in model.graph:
        table.setdefault(metadata.layer_of(node), []).append(node.name or "")
    return table


def _recovered(model: ir.Model) -> dict[str, str]:
    """Return folded-away Keras value -> the value of the graph that it follows from."""
    values = [value for node in model.graph for value in node.outputs]
    return {
        recovery.keras: value.name or ""
        for value in [*model.graph.inputs, *values]
        for recovery in metadata.recoveries(value)
    }
