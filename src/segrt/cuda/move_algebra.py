"""One walk through an operand in the place of two: what is read of a value that was moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from segrt.cuda.kernels._access import Access, Move


def is_whole(access: Access, sizes: Sequence[int]) -> bool:
    """Say whether an access reads all of a value as it is."""
    if access.walk != tuple(sizes) or any(access.start) or len(access.moves) != len(sizes):
        return False
    pairs = zip(sizes, access.moves, strict=True)
    return all(
        size == 1 if move is None else move == Move(axis) for axis, (size, move) in enumerate(pairs)
    )


def permutation_of(access: Access, sizes: Sequence[int]) -> tuple[int, ...] | None:
    """Return the order of axes that an access reads a value in; None if that is not all it does."""
    moves = [move for move in access.moves if move is not None]
    plain = len(moves) == len(access.moves) == len(sizes) and not any(access.start)
    if not plain or any(move.indices is not None or move.step != 1 for move in moves):
        return None
    order = tuple(move.axis for move in moves)
    whole = sorted(order) == list(range(len(sizes)))
    return order if whole and tuple(sizes[axis] for axis in order) == access.walk else None


def after_move(access: Access, made: Access) -> Access | None:
    """Return how to read a value's source.

    Args:
        access: How the value is read.
        made: How it was made from its source, axis by axis; its walk has the value's sizes.
    """
    if any(move is not None and move.indices is not None for move in made.moves):
        return None
    moves: list[Move | None] = []
    start = list(made.start)
    for first, move in zip(access.start, made.moves, strict=True):
        if move is not None:
            start[move.axis] += first * move.step
    for move in access.moves:
        inner = None if move is None else made.moves[move.axis]
        if move is None or (inner is None and move.indices is None):
            moves.append(None)
        elif inner is None:
            return None
        elif move.indices is None:
            moves.append(Move(inner.axis, move.step * inner.step))
        elif inner.step == 1:
            moves.append(replace(move, axis=inner.axis))
        else:
            return None
    return replace(access, moves=tuple(moves), start=tuple(start))


def after_reshape(
    accesses: Sequence[Access], index: int, middle: Sequence[int], source: Sequence[int]
) -> tuple[Access, ...] | None:
    """Return the walks of a pass that reads one operand's source, which has other sizes.

    Where one axis of the value is several of the source, the walks of all operands are split.

    Args:
        accesses: Of all operands.
        index: The one whose source is to be read.
        middle: Its sizes so far.
        source: Its source's sizes.
    """
    groups = _groups(middle, source)
    if groups is None or any(access.walk != accesses[0].walk for access in accesses):
        return None
    for inner, outer in groups:
        if len(inner) == 1 and len(outer) > 1:
            parts = _split(accesses, index, inner[0], [source[axis] for axis in outer])
            if parts is None:
                return None
            accesses = parts
    changed = _renumbered(accesses[index], groups, middle, source)
    return None if changed is None else (*accesses[:index], changed, *accesses[index + 1 :])


def _groups(
    middle: Sequence[int], source: Sequence[int]
) -> list[tuple[list[int], list[int]]] | None:
    """Return which axes are made of which: on one side or both, one alone; None if not so.

    Axes of one element are in no group.
    """
    left = [axis for axis, size in enumerate(middle) if size > 1]
    right = [axis for axis, size in enumerate(source) if size > 1]
    found: list[tuple[list[int], list[int]]] = []
    while left and right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (a := prod(middle[i] for i in ours)) != (b := prod(source[i] for i in theirs)):
            pool, group = (left, ours) if a < b else (right, theirs)
            if not pool:
                return None
            group.append(pool.pop(0))
        if len(ours) > 1 and len(theirs) > 1:
            return None
        found.append((ours, theirs))
    return None if left or right else found


def _split(
    accesses: Sequence[Access], index: int, axis: int, sizes: Sequence[int]
) -> tuple[Access, ...] | None:
    """Return the same walks with the step along one axis of an operand as several nested ones."""
    access = accesses[index]
    along = [n for n, move in enumerate(access.moves) if move is not None and move.axis == axis]
    if not along:
        return tuple(accesses)
    place = along[0]
    move = access.moves[place]
    even = move is not None and move.indices is None and move.step == 1
    if len(along) > 1 or not even or access.walk[place] != prod(sizes) or access.start[axis]:
        return None
    found = []
    for each in accesses:
        old = each.moves[place]
        if old is not None and old.indices is not None:
            return None
        inner = [prod(sizes[n + 1 :]) for n in range(len(sizes))]
        moves = [None if old is None else Move(old.axis, old.step * size) for size in inner]
        walk = (*each.walk[:place], *sizes, *each.walk[place + 1 :])
        whole = (*each.moves[:place], *moves, *each.moves[place + 1 :])
        found.append(replace(each, walk=walk, moves=whole))
    return tuple(found)


def _renumbered(
    access: Access,
    groups: Sequence[tuple[list[int], list[int]]],
    middle: Sequence[int],
    source: Sequence[int],
) -> Access | None:
    """Return an access to the source; steps along merged axes are split already."""
    start = [0] * len(source)
    steps: dict[int, list[tuple[int, int]]] = {}
    for ours, theirs in groups:
        if len(theirs) == 1:
            for n, axis in enumerate(ours):
                size = prod(middle[i] for i in ours[n + 1 :])
                steps[axis] = [(theirs[0], size)]
                start[theirs[0]] += access.start[axis] * size
        else:
            sizes = [source[i] for i in theirs]
            steps[ours[0]] = [(axis, prod(sizes[n + 1 :])) for n, axis in enumerate(theirs)]
            places = np.unravel_index(access.start[ours[0]], sizes)
            for axis, place in zip(theirs, places, strict=True):
                start[axis] = int(place)
    moves: list[Move | None] = []
    for move in access.moves:
        moved = None if move is None else _along(move, steps.get(move.axis))
        if move is not None and moved is None and move.axis in steps:
            return None
        if move is not None and move.axis not in steps and move.indices is not None:
            return None
        moves.append(moved)
    return replace(access, moves=tuple(moves), start=tuple(start))


def _along(move: Move, targets: Sequence[tuple[int, int]] | None) -> Move | None:
    """Return a step along the source; None along an axis of one element."""
    if targets is None:
        return None
    if len(targets) == 1:
        axis, size = targets[0]
        if move.indices is None:
            return Move(axis, move.step * size)
        return Move(axis, indices=tuple(i * size if i >= 0 else -1 for i in move.indices))
    # Split before: the step says which of the axes it is.
    for axis, size in targets:
        if move.indices is None and move.step == size:
            return Move(axis)
    return None
