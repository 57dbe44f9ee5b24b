"""How a kernel walks through an operand: which element it reads at each place of its walk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.cuda.views import View


@dataclass(frozen=True, slots=True)
class Move:
    """What one step along an axis of the walk does.

    Attributes:
        axis: The operand's axis along which it moves.
        step: By how many places.
        indices: Where set: the place for each step instead; below 0 there is no element.
    """

    axis: int
    step: int = 1
    indices: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """A walk and where it leads in one operand.

    Attributes:
        walk: Sizes; their product is the number of elements written, in the output's order.
        moves: For each axis of the walk; None: the operand is the same all along it.
        start: Place on each axis of the operand where the walk begins.
        fill: What is read where there is no element.
    """

    walk: tuple[int, ...]
    moves: tuple[Move | None, ...]
    start: tuple[int, ...]
    fill: float = 0.0


@dataclass(frozen=True, slots=True)
class Instruction:
    """One step of a program on registers: operands come first, then each step's result.

    Attributes:
        op: A name of the tables of `segrt.cuda.kernels._elements`.
        registers: What it takes.
        settings: Its numbers.
    """

    op: str
    registers: tuple[int, ...] = ()
    settings: tuple[float, ...] = ()


@dataclass(slots=True)
class Dimension:
    """One axis of a walk in terms of memory; an entry for each operand.

    Attributes:
        size: Steps.
        strides: Elements from one step to the next.
        tables: Where set: elements from the start for each step, below 0 for no element.
    """

    size: int
    strides: list[int]
    tables: list[tuple[int, ...] | None] = field(default_factory=list)

    @property
    def plain(self) -> bool:
        """Whether every operand moves evenly."""
        return all(table is None for table in self.tables)


def whole(sizes: Sequence[int]) -> Access:
    """Return the access that reads an operand as it is."""
    moves = tuple(Move(axis) for axis in range(len(sizes)))
    return Access(tuple(sizes), moves, (0,) * len(sizes))


def broadcast(sizes: Sequence[int], target: Sequence[int]) -> Access:
    """Return the access that reads an operand at every place of a larger one, as NumPy does."""
    missing = len(target) - len(sizes)
    moves = [
        None if axis < missing or sizes[axis - missing] == 1 else Move(axis - missing)
        for axis in range(len(target))
    ]
    return Access(tuple(target), tuple(moves), (0,) * len(sizes))


def pick(access: Access, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what is read along a walk, in its sizes."""
    rank = len(access.walk)
    places: list[npt.NDArray[Any]] = [np.asarray(first) for first in access.start]
    inside: npt.NDArray[Any] = np.asarray(True)
    for axis, move in enumerate(access.moves):
        if move is None:
            continue
        shape = [1] * rank
        shape[axis] = access.walk[axis]
        if move.indices is None:
            moved = np.arange(access.walk[axis]) * move.step
        else:
            moved = np.asarray(move.indices)
            inside = inside & (moved >= 0).reshape(shape)
            moved = np.maximum(moved, 0)
        places[move.axis] = places[move.axis] + moved.reshape(shape)
    found = array[tuple(places)] if places else array
    return np.broadcast_to(np.where(inside, found, access.fill), access.walk)


def logical(view: View, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an N H W C array of a view's memory with the graph's axes."""
    if view.depth:
        return np.moveaxis(array.reshape(-1, view.depth, *array.shape[1:]), -1, 1)
    return array.transpose(0, 3, 1, 2) if view.shape is None else array.reshape(view.shape)


def physical(view: View, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array with the graph's axes as N H W C of a view's memory."""
    if view.shape is None:
        last = np.moveaxis(array.reshape(view.sizes), 1, -1)
        return last.reshape(-1, *last.shape[-3:])
    return array.reshape(view.n, view.h, view.w, view.c)


def dimensions(access: Access, view: View) -> tuple[list[Dimension], int]:
    """Return a walk's axes in terms of one operand's memory, and where it begins."""
    strides = view.strides
    found, begin = [], 0
    for size, move in zip(access.walk, access.moves, strict=True):
        if move is None:
            found.append(Dimension(size, [0], [None]))
        elif size == 1 and move.indices is not None and move.indices[0] >= 0:
            begin += move.indices[0] * strides[move.axis]
            found.append(Dimension(size, [0], [None]))
        elif move.indices is None:
            found.append(Dimension(size, [move.step * strides[move.axis]], [None]))
        else:
            stride = strides[move.axis]
            table = tuple(index * stride if index >= 0 else -1 for index in move.indices)
            found.append(Dimension(size, [stride], [table]))
    begin += sum(first * stride for first, stride in zip(access.start, strides, strict=True))
    return found, begin


def together(walks: Sequence[Sequence[Dimension]]) -> list[Dimension] | None:
    """Return the axes of several walks as one, split where one has two for another's one.

    None where no common axes exist.
    """
    ends = sorted({end for walk in walks for end in _ends(walk)})
    if any(after % before for before, after in pairwise(ends)):
        return None
    finer = [_split(walk, ends) for walk in walks]
    whole = [walk for walk in finer if walk is not None]
    if len(whole) != len(walks):
        return None
    return [
        Dimension(
            axis.size,
            [walk[place].strides[0] for walk in whole],
            [walk[place].tables[0] for walk in whole],
        )
        for place, axis in enumerate(whole[0])
    ]


def _ends(walk: Sequence[Dimension]) -> list[int]:
    """Return for each axis after how many steps of the last axis it begins anew."""
    return [prod(axis.size for axis in walk[place:]) for place in range(len(walk))]


def _split(walk: Sequence[Dimension], ends: Sequence[int]) -> list[Dimension] | None:
    """Return a walk whose axes begin anew after each of these numbers of steps."""
    found: list[Dimension] = []
    for axis, end in zip(walk, _ends(walk), strict=True):
        if axis.size == 1 and axis.plain:
            continue
        begin = end // axis.size
        if axis.size == 1:
            return None
        bounds = [begin, *(each for each in ends if begin < each < end), end]
        if len(bounds) > 2 and not axis.plain:
            return None
        for low, high in zip(bounds[-2::-1], bounds[:0:-1], strict=True):
            strides = [stride * (low // begin) for stride in axis.strides]
            found.append(Dimension(high // low, strides, axis.tables))
    return found


def simplified(axes: Sequence[Dimension]) -> list[Dimension]:
    """Return the same walk in the order of the last operand's memory, with the fewest axes."""
    kept = [axis for axis in axes if axis.size > 1 or not axis.plain]
    kept.sort(key=lambda axis: -axis.strides[-1])
    result: list[Dimension] = []
    for axis in kept:
        before = result[-1] if result else None
        if before is not None and before.plain and axis.plain and _follows(before, axis):
            result[-1] = Dimension(before.size * axis.size, axis.strides, axis.tables)
        else:
            result.append(axis)
    return result


def _follows(outer: Dimension, inner: Dimension) -> bool:
    pairs = zip(outer.strides, inner.strides, strict=True)
    return all(a == b * inner.size for a, b in pairs)


def stays(access: Access, source: View, target: View) -> bool:
    """Say whether a walk through a source's memory is that through the target's, in order."""
    (read, begin), (written, _) = (
        dimensions(access, source),
        dimensions(whole(target.sizes), target),
    )
    axes = together([read, written])
    if axes is None or begin or source.offset or target.offset:
        return False
    kept = simplified(axes)
    elements = prod(target.sizes)
    even = len(kept) == 1 and kept[0].plain and kept[0].strides == [1, 1]
    return prod(source.sizes) == elements and (even or elements == 1)


def segment(table: Sequence[int], stride: int) -> tuple[int, int, int] | None:
    """Return begin, end and first element of a table that is one even piece; None if it is none."""
    inside = [step for step, place in enumerate(table) if place >= 0]
    if not inside:
        return 0, 0, 0
    begin, end = inside[0], inside[-1] + 1
    first = table[begin]
    even = all(table[step] == first + (step - begin) * stride for step in range(begin, end))
    return (begin, end, first) if even else None


def counters(prefix: str, sizes: Sequence[int], index: str) -> Iterator[str]:
    """Yield C++ that splits an index into one number an axis, the last one moving fastest."""
    yield f"u32 {prefix}_rest = {index};"
    for axis in reversed(range(len(sizes))):
        name = f"{prefix}{axis}"
        if axis == 0:
            yield f"const u32 {name} = {prefix}_rest;"
        else:
            size = sizes[axis]
            yield f"const u32 {name} = {prefix}_rest % {size}u; {prefix}_rest /= {size}u;"


def place(counts: Sequence[str], strides: Sequence[int], kind: str = "") -> str:
    """Return C++ for how far an element lies from the first one.

    Args:
        counts: The number along each axis.
        strides: Elements from one to the next along each.
        kind: Type that the numbers are converted to, in brackets.
    """
    pairs = zip(counts, strides, strict=True)
    return " + ".join(f"{kind}{count} * {stride}" for count, stride in pairs if stride) or "0"
