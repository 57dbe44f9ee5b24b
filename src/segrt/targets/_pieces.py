"""Cut a graph into pieces for different runners, and run them as one session.

A piece is convex: no value leaves it and comes back, so pieces can be run one after the other.
There are as few of them as the order of the nodes allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from segrt.targets._base import Array, Feeds
from segrt.targets._levels import best_levels
from segrt.targets._session import CheckedSession


class Runner(Protocol):
    """The part of a `Session` that a piece needs; arrays lie as the graph has them."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run once."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a graph.

    Attributes:
        model: A graph of its own; inputs and outputs have the names they have in the whole one.
        taken: What the question asked of each of its nodes was answered with.
    """

    model: ir.Model
    taken: bool

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values it reads."""
        return tuple(str(value.name) for value in self.model.graph.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the values it makes for others."""
        return tuple(str(value.name) for value in self.model.graph.outputs)


def split(model: ir.Model, takes: Callable[[ir.Node], bool]) -> tuple[Piece, ...]:
    """Cut a graph into the largest convex pieces of one kind, in an order that computes.

    Args:
        model: Not changed; the pieces share its weights.
        takes: Says of which kind a node is.
    """
    return split_by(model, {node: takes(node) for node in model.graph})


def split_by(model: ir.Model, kinds: Mapping[ir.Node, bool]) -> tuple[Piece, ...]:
    """Cut a graph as `split` does, by a table of its nodes' kinds."""
    levels = best_levels(model.graph, kinds)
    pieces = []
    for level in sorted(set(levels.values())):
        nodes = [node for node in model.graph if levels[node] == level]
        pieces.append(Piece(extract(model, nodes), kinds[nodes[0]]))
    return tuple(pieces)


class PiecedSession(CheckedSession):
    """A graph whose pieces run one after the other, each by a runner of its own.

    Args:
        model: The whole graph.
        parts: Its pieces and what runs them; owned by the session.
    """

    def __init__(self, model: ir.Model, parts: Sequence[tuple[Piece, Runner]]) -> None:
        super().__init__(model)
        self._parts = list(parts)
        last: dict[str, int] = {}
        for index, (piece, _) in enumerate(self._parts):
            last |= dict.fromkeys((*piece.inputs, *piece.outputs), index)
        wanted = {spec.name for spec in self.outputs}
        # Values that nothing reads any more are dropped: of a large network few are needed at once.
        self._drop = [
            [name for name, end in last.items() if end == index and name not in wanted]
            for index in range(len(self._parts))
        ]

    def _infer(self, arrays: Sequence[Array]) -> Sequence[Array]:
        values = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        for (piece, runner), done in zip(self._parts, self._drop, strict=True):
            values |= runner.run({name: values[name] for name in piece.inputs})
            for name in done:
                values.pop(name, None)
        return [values[spec.name] for spec in self.outputs]

    def _free(self) -> None:
        for _, runner in self._parts:
            runner.close()
        self._parts.clear()


def open_pieces(
    model: ir.Model, takes: Callable[[ir.Node], bool], opener: Callable[[Piece], Runner]
) -> PiecedSession:
    """Open every piece of a graph and return the session over them.

    Args:
        model: The whole graph.
        takes: See `split`.
        opener: Opens one piece on whatever runs its kind.

    Raises:
        SegrtError: As ``opener``; the pieces opened before are closed.
    """
    parts: list[tuple[Piece, Runner]] = []
    try:
        for piece in split(model, takes):
            # One by one, so that those opened before are known if this one fails.
            parts.append((piece, opener(piece)))  # noqa: PERF401
        return PiecedSession(model, parts)
    except BaseException:
        for _, runner in parts:
            runner.close()
        raise


def extract(model: ir.Model, nodes: Sequence[ir.Node]) -> ir.Model:
    """Return the nodes as a graph of their own."""
    inside = set(nodes)
    inputs: dict[ir.Value, None] = {}
    outputs: dict[ir.Value, None] = {}
    for node in nodes:
        for value in node.inputs:
            if value is None or value.producer() in inside or value.is_initializer():
                continue
            inputs[value] = None
        for value in node.outputs:
            if value.is_graph_output() or any(use.node not in inside for use in value.uses()):
                outputs[value] = None
    graph = ir.convenience.extract(model.graph, list(inputs), list(outputs))
    return ir.Model(
        graph,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        functions=list(model.functions.values()),
        metadata_props=dict(model.metadata_props),
    )


__all__ = ["Piece", "PiecedSession", "Runner", "extract", "open_pieces", "split", "split_by"]
