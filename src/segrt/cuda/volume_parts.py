"""Convolve large volumes some slices at a time, so that slices side by side take little memory.

What a window meets along the depth is written out once a tap: three times a volume for a window of
three. A volume's slices lie one behind the other, so some of them are a batch by themselves, and
the memory of what lies between serves for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from segrt.cuda.image_operations import Slices
from segrt.cuda.operations import (
    Convolution,
    MergedUpsampling,
    Operation,
    TransposedConvolution,
)
from segrt.cuda.plan import Place, Plan, measure_lives, phase_spec

PlanStep = tuple[Operation, tuple[Place, ...], Place]

# Slices side by side take this much, unless that would make more launches than are worth it.
_PART_BYTES = 1 << 25
_MOST_PARTS = 8
# What libraries expect of where an image begins.
_ALIGNMENT_BYTES = 16
_HOPPER = (9, 0)


def split_volumes(plan: Plan, capability: tuple[int, int]) -> Plan:
    """Return a plan whose convolutions of large volumes are computed in parts.

    Args:
        plan: Of volumes or images.
        capability: Of the GPU: some have kernels that need no memory between.
    """
    plan.steps = _late(plan.steps)
    steps: list[PlanStep] = []
    for step in plan.steps:
        before = steps[-1] if steps else None
        if before is not None and _belong(plan, before, step):
            steps[-1:] = _parts(before, step)
        elif _makes_phases(step, capability):
            steps += _upsampled_parts(step)
        else:
            steps.append(step)
    plan.steps = steps
    plan.buffers.clear()
    measure_lives(plan)
    return plan


def _late(steps: list[PlanStep]) -> list[PlanStep]:
    """Return the steps with slices put side by side just before they are read, not sooner.

    A convolution that adds a shortcut may come long after what made its image.
    """
    waiting: dict[Place, PlanStep] = {}
    ordered: list[PlanStep] = []
    for step in steps:
        if isinstance(step[0], Slices):
            waiting[step[2]] = step
            continue
        ordered += [waiting.pop(place) for place in step[1] if place in waiting]
        ordered.append(step)
    return [*ordered, *waiting.values()]


def _belong(plan: Plan, before: PlanStep, step: PlanStep) -> bool:
    """Say whether a step puts slices side by side for the next one alone, and many."""
    (maker, _, made), (reader, sources, _) = before, step
    if not isinstance(maker, Slices):
        return False
    kinds = (Convolution, TransposedConvolution, MergedUpsampling)
    if not isinstance(reader, kinds) or sources[0] != made:
        return False
    if not all(place.view.image_bytes % _ALIGNMENT_BYTES == 0 for place in (*sources, step[2])):
        return False
    touching = [s for s in plan.steps if any(p.buffer == made.buffer for p in (*s[1], s[2]))]
    return touching == [before, step] and made.view.span_bytes > _PART_BYTES


def _parts(before: PlanStep, step: PlanStep) -> Iterator[PlanStep]:
    """Yield both steps for some slices after the other."""
    (maker, (volume,), made), (reader, sources, target) = before, step
    assert isinstance(maker, Slices)
    view = volume.view
    # All volumes of a batch as one, so that a part may end anywhere.
    begins = np.arange(view.n // view.depth)[:, None, None] * view.depth
    table = np.where(maker.table < 0, -1, maker.table + begins).reshape(-1, maker.table.shape[1])
    whole = Place(volume.buffer, replace(view, depth=view.n))
    count = len(table)
    size = -(-count // min(_MOST_PARTS, -(-made.view.span_bytes // _PART_BYTES)))
    for first in range(0, count, size):
        rows = table[first : first + size].astype(np.int32)
        slices = Place(made.buffer, replace(made.view, n=len(rows)))
        yield replace(maker, table=rows), (whole,), slices
        others = (_part(place, first, len(rows)) for place in sources[1:])
        yield reader, (slices, *others), _part(target, first, len(rows))


def _makes_phases(step: PlanStep, capability: tuple[int, int]) -> bool:
    """Say whether a step makes slices of a volume from phases that lie in much memory."""
    operation, sources, target = step
    if not isinstance(operation, MergedUpsampling) or operation.depth == 1:
        return False
    (source,) = sources
    if capability == _HOPPER and phase_spec(operation, source.view, target.view) is not None:
        return False
    aligned = all(p.view.image_bytes % _ALIGNMENT_BYTES == 0 for p in (source, target))
    return aligned and _phase_bytes(target) > _PART_BYTES


def _phase_bytes(target: Place) -> int:
    view = target.view
    return view.pixels * view.c * view.item_bytes


def _upsampled_parts(step: PlanStep) -> Iterator[PlanStep]:
    """Yield a step for some slices after the other."""
    operation, (source,), target = step
    assert isinstance(operation, MergedUpsampling)
    count, depth = source.view.n, operation.depth
    size = -(-count // min(_MOST_PARTS, -(-_phase_bytes(target) // _PART_BYTES)))
    for first in range(0, count, size):
        some = min(size, count - first)
        yield operation, (_part(source, first, some),), _part(target, depth * first, depth * some)


def _part(place: Place, first: int, count: int) -> Place:
    return replace(place, view=replace(place.view, n=count, depth=0), first=first)
