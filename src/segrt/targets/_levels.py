"""In which turn each node of a graph can run, where two engines take turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import onnx_ir as ir

Kinds = Mapping[ir.Node, bool]


def best_levels(graph: ir.Graph, kinds: Kinds) -> dict[ir.Node, int]:
    """Return a level for each node: those of one level are of one kind and form a convex piece.

    There are as few levels as can be; of the ways to have so few, the one is taken whose pieces
    hand the least to one another.

    Args:
        graph: In topological order.
        kinds: Of which kind each node is.
    """
    candidates = []
    # Either kind may come first; a node that could be in two pieces then finds the fewer.
    for first in (True, False):
        early = _early(graph, kinds, first=first)
        candidates += [early, _late(graph, early)]
    return min(candidates, key=lambda levels: (len(set(levels.values())), handed(levels)))


def handed(levels: Mapping[ir.Node, int]) -> int:
    """Count the elements that pieces hand to one another; a free size counts as 1."""
    return sum(_elements(value) for value, _ in transfers(levels))


def transfers(levels: Mapping[ir.Node, int]) -> Iterator[tuple[ir.Value, int]]:
    """Yield every value that leaves its piece, with each level that reads it."""
    for node, level in levels.items():
        for value in node.outputs:
            readers = {levels[use.node] for use in value.uses() if use.node in levels}
            for reader in sorted(readers - {level}):
                yield value, reader


def sources(node: ir.Node) -> Iterator[ir.Node]:
    """Yield the nodes that make what ``node`` reads."""
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None:
            yield producer


def readers(node: ir.Node) -> Iterator[ir.Node]:
    """Yield the nodes that read what ``node`` makes."""
    for value in node.outputs:
        for use in value.uses():
            yield use.node


def _early(graph: ir.Graph, kinds: Kinds, *, first: bool) -> dict[ir.Node, int]:
    """Count for each node how often the kind changes on the way to it: even is kind ``first``.

    Levels never fall along an edge, so the nodes of one level are convex; and a way with n
    changes needs n pieces more than one, so that none begins with ``first`` and has fewer.
    """
    levels: dict[ir.Node, int] = {}
    for node in graph:
        level = kind = 0 if kinds[node] == first else 1
        for source in sources(node):
            before = levels[source]
            level = max(level, before + (before % 2 != kind))
        levels[node] = level
    return levels


def _late(graph: ir.Graph, early: Mapping[ir.Node, int]) -> dict[ir.Node, int]:
    """Let each node wait as long as it can, without more levels than ``early`` has."""
    last = max(early.values(), default=0)
    levels: dict[ir.Node, int] = {}
    for node in reversed(graph):
        parity = early[node] % 2
        level = last - (last % 2 != parity)
        for reader in readers(node):
            after = levels[reader]
            level = min(level, after - (after % 2 != parity))
        levels[node] = level
    return {node: levels[node] for node in graph}


def _elements(value: ir.Value) -> int:
    return prod(size if isinstance(size, int) else 1 for size in value.shape or ())


__all__ = ["best_levels", "handed", "readers", "sources", "transfers"]
