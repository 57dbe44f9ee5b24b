"""Custom operations on engines that know nothing of them: run between the engine's pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import onnx_ir as ir

from segrt.graph import custom_nodes
from segrt.targets._base import Array, Feeds
from segrt.targets._pieces import Piece, PiecedSession, Runner, open_pieces

R = TypeVar("R", bound=Runner)


class ReferenceRunner:
    """Runs a piece that consists of custom operations, by their NumPy references.

    Args:
        model: The piece.

    Raises:
        UnsupportedLayerError: An operation is not defined here.
    """

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        for node in self._graph:
            custom_nodes.operation_of(node)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run once.

        Raises:
            EngineError: A reference fails.
        """
        values: dict[str, Array] = {str(name): array for name, array in feeds.items()}
        for node in self._graph:
            arrays = [_array(value, values) for value in node.inputs if value is not None]
            values[str(node.outputs[0].name)] = custom_nodes.run(node, arrays)
        return {str(value.name): values[str(value.name)] for value in self._graph.outputs}

    def close(self) -> None:
        """Drop the graph."""
        del self._graph


def has_custom_ops(model: ir.Model) -> bool:
    """Say whether a graph needs custom operations."""
    return any(map(custom_nodes.is_custom, model.graph))


def open_with_references(model: ir.Model, opener: Callable[[ir.Model], R]) -> R | PiecedSession:
    """Open a graph on an engine, its custom operations apart.

    Args:
        model: With custom operations or without.
        opener: Opens a graph without any on the engine.

    Raises:
        UnsupportedLayerError: An operation is not defined here.
        SegrtError: As ``opener``.
    """
    if not has_custom_ops(model):
        return opener(model)

    def open_piece(piece: Piece) -> Runner:
        return ReferenceRunner(piece.model) if piece.taken else opener(piece.model)

    return open_pieces(model, custom_nodes.is_custom, open_piece)


def _array(value: ir.Value, values: dict[str, Array]) -> Array:
    if value.const_value is not None:
        return value.const_value.numpy()
    return values[str(value.name)]
