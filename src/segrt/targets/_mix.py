"""Divide a graph between a target and the engine that stands in for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from segrt.errors import UnsupportedLayerError, UsageError
from segrt.graph import metadata
from segrt.graph.custom_nodes import is_custom
from segrt.targets._levels import best_levels, readers, sources
from segrt.targets._mix_notes import Refusal
from segrt.targets._pieces import Piece, split_by

Table = Mapping[ir.Node, str | None]

# Operators of many products an element. A part without any costs less to compute than to hand
# over: an element of it is touched a few times, and handing it over touches it twice.
_HEAVY = {"Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "QLinearConv", "ConvInteger"}
_MOST_LISTED = 40


def divide(model: ir.Model, table: Table, target: str) -> tuple[Piece, ...]:
    """Cut a graph into pieces for the target (``taken``) and for the fallback.

    What the target takes goes to it, but for parts that hold no work worth the way there: they
    stay with the fallback's nodes that they touch.

    Args:
        model: Lowered for the target; not changed.
        table: Why the target refuses each node, None where it takes it.
        target: Its name, for the message.

    Raises:
        UsageError: Nothing worth the way is left for the target.
    """
    kinds = {node: table[node] is None for node in model.graph}
    while islands := [node for part in _parts(model.graph, kinds) for node in part]:
        kinds |= dict.fromkeys(islands, False)
    if not any(kinds.values()):
        raise UsageError(
            f"target {target!r} takes no part of the network that is worth it",
            found=f"{len(kinds)} nodes, none with products that it takes",
            hint="build for the other engine alone",
        )
    return split_by(model, kinds)


def refusals(table: Table) -> tuple[Refusal, ...]:
    """Return what the target refuses, in the network's order."""
    return tuple(
        Refusal(metadata.layer_of(node) or str(node.name), str(node.name), node.op_type, why)
        for node, why in table.items()
        if why is not None
    )


def with_late(table: Table, error: UnsupportedLayerError) -> Table | None:
    """Add what an engine refused only when it was built; None if it names nothing that it took.

    Args:
        table: What the engine said of each node beforehand.
        error: Names layers, and what of them.
    """
    more: dict[ir.Node, str] = {}
    for layer, kind in error.layers:
        nodes = [
            node
            for node, why in table.items()
            if why is None and layer in (metadata.layer_of(node), node.name)
        ]
        of_kind = [node for node in nodes if node.op_type == kind]
        why = error.__cause__ if isinstance(error.__cause__, UnsupportedLayerError) else error
        more |= dict.fromkeys(of_kind or nodes, why.message)
    return {**table, **more} if more else None


def refused_error(target: str, refused: tuple[Refusal, ...], hint: str | None) -> Exception:
    """Return the error for a network that a target does not take whole; to be raised."""
    shown = "".join(f"\n  {row.layer} ({row.op}): {row.why}" for row in refused[:_MOST_LISTED])
    more = len(refused) - _MOST_LISTED
    if more > 0:
        shown += f"\n  and {more} more"
    advice = "--fallback cpu runs these on the CPU, between engines for the rest"
    return UnsupportedLayerError(
        f"target {target!r} refuses {len(refused)} nodes of the network:{shown}",
        [(row.layer, row.op) for row in refused],
        hint=f"{advice}; or {hint}" if hint else advice,
    )


def _parts(graph: ir.Graph, kinds: Mapping[ir.Node, bool]) -> Iterator[list[ir.Node]]:
    """Yield the connected parts of the target's pieces that are not worth the way there."""
    levels = best_levels(graph, kinds)
    seen: set[ir.Node] = set()
    for start in graph:
        if not kinds[start] or start in seen:
            continue
        part, front, touches = [], [start], False
        seen.add(start)
        while front:
            node = front.pop()
            part.append(node)
            for other in (*sources(node), *readers(node)):
                touches |= not kinds[other]
                if other not in seen and levels[other] == levels[node]:
                    seen.add(other)
                    front.append(other)
        if touches and not any(map(_is_work, part)):
            yield part


def _is_work(node: ir.Node) -> bool:
    return node.op_type in _HEAVY or is_custom(node)


__all__ = ["divide", "refusals", "refused_error", "with_late"]
