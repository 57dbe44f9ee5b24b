"""Move transposes to a graph's ends, where they only say in which order an image comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from segrt.cuda.graph_edits import (
    constant_value,
    copy_with,
    name_result,
    node_like,
    only_reader,
    put_for,
    remove_unread,
    sizes_of,
)
from segrt.cuda.readers._base import constant, integer, integers

_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
# What prepares pixels, with one number for all or one a channel.
_PREPARING = ("Cast", "Add", "Sub", "Mul", "Div", "Gather")


def cast_first(graph: ir.Graph, node: ir.Node) -> None:
    """Let a change of type at the end come before the transpose that it stands behind."""
    moving = None if node.inputs[0] is None else node.inputs[0].producer()
    if moving is None or moving.op_type != "Transpose" or not node.outputs[0].is_graph_output():
        return
    last = integers(moving, "perm", ()) == _TO_LAST
    if not last or only_reader(moving.outputs[0]) is not node or moving.inputs[0] is None:
        return
    cast, result = copy_with(node, [moving.inputs[0]]), node.outputs[0]
    graph.insert_before(node, cast)
    value = name_result(cast, f"{result.name}:first", moving.inputs[0].shape, result)
    put_for(graph, node_like(moving, "Transpose", [value], {"perm": _TO_LAST}), node)
    remove_unread(graph, moving)


def transpose_first(graph: ir.Graph, value: ir.Value) -> None:
    """Let a transpose to channels first come before what prepares the pixels of an input."""
    steps = list(_preparation(value))
    end = steps[-1].outputs[0] if steps else value
    moves = [reader for reader, _ in end.uses()]
    wanted = [m.op_type == "Transpose" and integers(m, "perm", ()) == _TO_FIRST for m in moves]
    leaves = [node.outputs[0].is_graph_output() for node in (*steps, *moves)]
    if not steps or not moves or not all(wanted) or any(leaves):
        return
    move = node_like(moves[0], "Transpose", [value], {"perm": _TO_FIRST})
    graph.insert_before(steps[0], move)
    current = name_result(move, f"{value.name}:first", _moved(value), value)
    for step in steps:
        made = _moved_step(graph, step, current)
        graph.insert_before(moves[0], made)
        old = step.outputs[0]
        current = name_result(made, f"{old.name}:first", _moved(old), old)
    for old_move in moves:
        old_move.outputs[0].replace_all_uses_with(current)
    remove_unread(graph, *moves, *reversed(steps))


def _preparation(value: ir.Value) -> Iterator[ir.Node]:
    """Walk what follows a graph input, as long as each is a preparation of pixels."""
    while len(value.shape or ()) == 4:
        node = only_reader(value)
        if node is None or node.op_type not in _PREPARING:
            return
        others = [constant(other) for other in node.inputs if other is not value]
        fits = all(other is not None and _is_along_channels(other) for other in others)
        if node.op_type == "Gather":
            fits = node.inputs[0] is value and integer(node, "axis", 0) in (3, -1)
            fits = fits and others[0] is not None and others[0].ndim == 1
        if not fits:
            return
        yield node
        value = node.outputs[0]


def _is_along_channels(array: npt.NDArray[Any]) -> bool:
    return array.size == 1 or (array.ndim <= 4 and array.shape[-1] == array.size)


def _moved_step(graph: ir.Graph, step: ir.Node, image: ir.Value) -> ir.Node:
    """Return a preparation for images with channels first."""
    if step.op_type == "Gather":
        return node_like(step, "Gather", [image, step.inputs[1]], {"axis": 1})
    inputs: list[ir.Value | None] = []
    for old in step.inputs:
        array = constant(old)
        if array is not None and array.size > 1 and old is not None:
            inputs.append(constant_value(graph, f"{old.name}:first", array.reshape(-1, 1, 1)))
        else:
            inputs.append(image if array is None else old)
    return copy_with(step, inputs)


def _moved(value: ir.Value) -> ir.Shape:
    n, h, w, c = sizes_of(value)
    return ir.Shape([n, c, h, w])
