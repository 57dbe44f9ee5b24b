"""Which values are volumes, N C D H W in the graph: what operations on volumes meet.

A volume lies in memory as the batch of its slices, so whatever looks at one pixel or one slice at
a time computes volumes as it computes images. Values of five axes that nothing of the kind meets
stay dense.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import onnx_ir as ir

# Key of `ir.Value.meta`.
_MARK = "segrt.cuda.volume"
_RANK = 5
# What of five axes nothing else computes.
_ALONE = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize", "GroupNormalization")
_TURN = "Transpose"


def note_volumes(graph: ir.Graph, along: Container[str]) -> None:
    """Mark the values of a graph that are volumes.

    Args:
        graph: All its sizes are known, and so is what depends on these alone.
        along: Operators that compute a volume if they are given one.
    """
    for node in graph:
        if node.op_type in _ALONE:
            _mark(_of_rank([node.inputs[0], *node.outputs]))
    changed = True
    while changed:
        changed = False
        for node in graph:
            goes_along = node.op_type in along and node.op_type != _TURN
            values = _of_rank([*node.inputs, *node.outputs]) if goes_along else []
            if any(map(_is_marked, values)) and not all(map(_is_marked, values)):
                _mark(values)
                changed = True


def meets_volumes(node: ir.Node) -> bool:
    """Say whether all that a node computes with are volumes; of a transpose, one side of it."""
    values = [value for value in (*node.inputs, *node.outputs) if _is_computed(value)]
    marked = [_is_marked(value) for value in values]
    return any(marked) if node.op_type == _TURN else bool(marked) and all(marked)


def _of_rank(values: Iterable[ir.Value | None]) -> list[ir.Value]:
    return [
        value
        for value in values
        if value is not None and _is_computed(value) and len(value.shape or ()) == _RANK
    ]


def _is_computed(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is None


def _is_marked(value: ir.Value | None) -> bool:
    return value is not None and _MARK in value.meta


def _mark(values: Iterable[ir.Value]) -> None:
    for value in values:
        value.meta[_MARK] = True
