"""Operators that move elements along axes: their output's places lead to the input's."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.cuda.kernels._access import Access, Move, broadcast
from segrt.cuda.operations import Operation
from segrt.cuda.readers._base import TENSORS, constant, integer, integers, names_of, text
from segrt.cuda.readers._tensors import axis_of, integers_in, is_given, moved, sizes_of
from segrt.cuda.tensor_operations import Strided, Take

Indices: TypeAlias = npt.NDArray[Any]


@TENSORS.register("Transpose")
def read_transpose(node: ir.Node, layer: str) -> Strided:
    """Read any order of axes."""
    rank = len(sizes_of(node.inputs[0]))
    order = integers(node, "perm", tuple(reversed(range(rank))))
    return moved(node, layer, [Move(axis) for axis in order], (0,) * rank)


@TENSORS.register("Expand")
def read_expand(node: ir.Node, layer: str) -> Strided:
    """Read a broadcast to known sizes."""
    access = broadcast(sizes_of(node.inputs[0]), sizes_of(node.outputs[0]))
    return Strided(layer, *names_of(node), (access,), ())


@TENSORS.register("Slice")
def read_slice(node: ir.Node, layer: str) -> Strided | None:
    """Read a slice with constant ends and steps."""
    sizes = sizes_of(node.inputs[0])
    starts, steps = integers_in(node, 1), integers_in(node, 4)
    axes = integers_in(node, 3) if is_given(node, 3) else tuple(range(len(sizes)))
    if starts is None or axes is None or (steps is None and is_given(node, 4)):
        return None
    steps = steps or (1,) * len(starts)
    moves, begin = [Move(axis) for axis in range(len(sizes))], [0] * len(sizes)
    for start, named, step in zip(starts, axes, steps, strict=False):
        axis = axis_of(named, len(sizes))
        size = sizes[axis]
        place = start + size if start < 0 else start
        begin[axis] = min(max(place, 0), size if step > 0 else size - 1)
        moves[axis] = Move(axis, step)
    return moved(node, layer, moves, begin)


@TENSORS.register("Split")
def read_split(node: ir.Node, layer: str) -> tuple[Operation, ...]:
    """Read it as slices."""
    rank = len(sizes_of(node.inputs[0]))
    axis, begin = axis_of(integer(node, "axis", 0), rank), 0
    parts: list[Operation] = []
    for index, output in enumerate(node.outputs):
        start = [0] * rank
        start[axis] = begin
        begin += sizes_of(output)[axis]
        parts.append(moved(node, layer, [Move(place) for place in range(rank)], start, index))
    return tuple(parts)


@TENSORS.register("Tile")
def read_tile(node: ir.Node, layer: str) -> Strided:
    """Read repeated axes: each is walked through again and again."""
    sizes, target = sizes_of(node.inputs[0]), sizes_of(node.outputs[0])
    walk: list[int] = []
    moves: list[Move | None] = []
    for axis, (size, whole) in enumerate(zip(sizes, target, strict=True)):
        walk += [whole // size, size]
        moves += [None, Move(axis)]
    access = Access(tuple(walk), tuple(moves), (0,) * len(sizes))
    return Strided(layer, *names_of(node), (access,), ())


@TENSORS.register("Gather")
def read_gather(node: ir.Node, layer: str) -> Operation | None:
    """Read a choice along an axis, by constant numbers or by computed ones."""
    table, numbers = constant(node.inputs[0]), constant(node.inputs[1])
    sizes = sizes_of(node.inputs[0])
    axis = axis_of(integer(node, "axis", 0), len(sizes))
    if numbers is None or table is not None:
        arrays = {index: a for index, a in enumerate((table, numbers)) if a is not None}
        names = [
            value.name or ""
            for index, value in enumerate(node.inputs)
            if index not in arrays and value is not None
        ]
        return Take(layer, tuple(names), node.outputs[0].name or "", axis, arrays)
    picked = tuple(int(n) + (sizes[axis] if n < 0 else 0) for n in numbers.reshape(-1))
    moves: list[Move | None] = [Move(place) for place in range(len(sizes))]
    moves[axis] = Move(axis, indices=picked)
    walk = [*sizes[:axis], len(picked), *sizes[axis + 1 :]]
    access = Access(tuple(walk), tuple(moves), (0,) * len(sizes))
    return Strided(layer, *names_of(node), (access,), ())


@TENSORS.register("SpaceToDepth", "DepthToSpace")
def read_blocks(node: ir.Node, layer: str) -> Strided:
    """Read pixels of a block as channels, or channels as pixels of a block."""
    block = integer(node, "blocksize", 1)
    n, c, h, w = sizes_of(node.inputs[0])
    if node.op_type == "SpaceToDepth":
        walk = (n, block, block, c, h // block, w // block)
        moves = (Move(0), Move(2), Move(3), Move(1), Move(2, block), Move(3, block))
    else:
        depth = c // block**2
        first = text(node, "mode", "DCR") == "DCR"
        # Channels are counted block row, block column, depth; or depth first.
        row, column, deep = (block * depth, depth, 1) if first else (block, 1, block**2)
        walk = (n, depth, h, block, w, block)
        moves = (Move(0), Move(1, deep), Move(2), Move(1, row), Move(3), Move(1, column))
    return Strided(layer, *names_of(node), (Access(walk, moves, (0, 0, 0, 0)),), ())


@TENSORS.register("Pad")
def read_pad(node: ir.Node, layer: str) -> Strided | None:
    """Read constant, mirrored, repeated and wrapped edges; negative numbers cut off."""
    sizes, target = sizes_of(node.inputs[0]), sizes_of(node.outputs[0])
    pads = integers_in(node, 1)
    fill = constant(node.inputs[2]) if is_given(node, 2) else np.zeros(1)
    axes = integers_in(node, 3) if is_given(node, 3) else tuple(range(len(sizes)))
    mode = text(node, "mode", "constant")
    if pads is None or fill is None or axes is None:
        return None
    before = dict(zip((axis_of(axis, len(sizes)) for axis in axes), pads, strict=False))
    moves: list[Move | None] = []
    for axis, (size, wide) in enumerate(zip(sizes, target, strict=True)):
        if (size, before.get(axis, 0)) == (wide, 0):
            moves.append(Move(axis))
            continue
        places = np.arange(wide) - before.get(axis, 0)
        moves.append(Move(axis, indices=tuple(map(int, _sources(places, size, mode)))))
    access = Access(target, tuple(moves), (0,) * len(sizes), float(fill.reshape(-1)[0]))
    return Strided(layer, *names_of(node), (access,), ())


def _sources(places: Indices, size: int, mode: str) -> Indices:
    """Return where the elements of a padded axis come from; -1: from nowhere."""
    if mode == "edge":
        return np.asarray(np.clip(places, 0, size - 1))
    if mode == "wrap":
        return np.asarray(np.mod(places, size))
    if mode == "reflect":
        period = max(1, 2 * (size - 1))
        turned = np.mod(places, period)
        return np.minimum(turned, period - turned) if size > 1 else np.zeros_like(places)
    return np.where((places >= 0) & (places < size), places, -1)
