"""Merge steps of a plan that one launch computes together, where its kernel takes them.

What lies between two layers is then neither written nor read again, or read once less. That
depends on where values lie, so it is done when all have their places.
"""

from __future__ import annotations

import numpy as np

from segrt.cuda.affine import apart
from segrt.cuda.image_operations import Slices, VolumeConvolution
from segrt.cuda.kernels.opening import OpeningSpec
from segrt.cuda.kernels.opening import fits as opening_fits
from segrt.cuda.kernels.volume_convolution import VolumeConvolutionSpec
from segrt.cuda.kernels.volume_convolution import fits as volume_fits
from segrt.cuda.kernels.wide_convolution import WideConvolutionSpec
from segrt.cuda.kernels.wide_convolution import fits as wide_fits
from segrt.cuda.operations import (
    ActivatedConvolution,
    Convolution,
    Opening,
    Operation,
    Pool,
    PooledConvolution,
)
from segrt.cuda.plan import Place, Plan, measure_lives
from segrt.cuda.views import View
from segrt.cuda.volume_parts import split_volumes
from segrt.cuda.volume_ways import apart_view, is_worth

PlanStep = tuple[Operation, tuple[Place, ...], Place]
_HOPPER = (9, 0)


def merge_steps(plan: Plan, capability: tuple[int, int]) -> Plan:
    """Return a plan that computes the same in fewer steps on a GPU of this capability."""
    if capability == _HOPPER:
        plan.steps = _volumes(plan.steps)
    plan = split_volumes(plan, capability)
    if capability != _HOPPER:
        return plan
    for rule in (_pools, _openings):
        plan.steps = rule(plan.steps)
    plan.buffers.clear()
    measure_lives(plan)
    return plan


def wide_spec(
    operation: Operation, source: View, target: View, pooled: View | None = None
) -> WideConvolutionSpec | None:
    """Return what the kernel for whole 64s of channels would be launched with; None: not fit."""
    inner, affine = apart(operation)
    if inner is None or not _plain(inner):
        return None
    spec = WideConvolutionSpec(
        source, target, pooled, _window(inner), inner.before, inner.activation == "relu",
        bool(affine.steps),
    )  # fmt: skip
    return spec if wide_fits(spec) else None


def volume_spec(
    slices: Slices, operation: Convolution, source: View, target: View
) -> VolumeConvolutionSpec | None:
    """Return what the kernel for volumes would be launched with; None: not fit."""
    table = slices.table
    made, taps = table.shape
    if not _plain(operation) or slices.groups != 1 or (table < 0).all() or made != target.depth:
        return None
    places = np.add.outer(np.arange(made), np.arange(taps))
    front = int((places - table)[table >= 0][0])
    places -= front
    inside = (places >= 0) & (places < source.depth)
    if not np.array_equal(table, np.where(inside, places, -1)):
        return None
    window, before = (taps, *_window(operation)), (front, *operation.before)
    spec = VolumeConvolutionSpec(source, target, window, before, operation.activation == "relu")
    return spec if volume_fits(spec) else None


def opening_spec(
    operation: Opening, source: View, target: View, pooled: View | None
) -> OpeningSpec | None:
    """Return what the kernel for the first two layers would be launched with; None: not fit."""
    second, affine = apart(operation.second)
    if second is None or not _plain(operation.first) or not _plain(second):
        return None
    both = (operation.first, second)
    spec = OpeningSpec(
        source, target, pooled, operation.middle,
        (_window(both[0]), _window(both[1])), (both[0].before, both[1].before),
        (both[0].activation == "relu", both[1].activation == "relu"), bool(affine.steps),
    )  # fmt: skip
    return spec if len(both[0].bias) == target.c and opening_fits(spec) else None


def _plain(operation: Convolution) -> bool:
    plain = operation.stride == operation.dilation == (1, 1) and operation.groups == 1
    bare = operation.scales is None and operation.ranges is None and operation.decision == "none"
    bare = bare and not operation.residual
    return plain and bare and operation.activation in ("none", "relu")


def _window(operation: Convolution) -> tuple[int, int]:
    return operation.kernel.shape[2], operation.kernel.shape[3]


def _volumes(steps: list[PlanStep]) -> list[PlanStep]:
    """Let a convolution of volumes read slices where they lie."""
    merged = list(steps)
    for step in steps:
        reader, sources, target = step
        if not isinstance(reader, Convolution) or len(sources) != 1:
            continue
        touching = [s for s in merged if any(p.buffer == sources[0].buffer for p in (*s[1], s[2]))]
        if len(touching) != 2 or touching[1] != step or touching[0][2] != sources[0]:
            continue
        maker, (volume, *_), made = touching[0]
        if not isinstance(maker, Slices) or not is_worth(made.view):
            continue
        if volume_spec(maker, reader, volume.view, target.view) is None:
            continue
        heights = (volume.view.h, target.view.h)
        both = VolumeConvolution(
            reader.layer, maker.inputs, reader.output, maker, reader, heights
        )  # fmt: skip
        between = Place(made.buffer, apart_view(made.view))
        merged[merged.index(step)] = (both, (volume, between), target)
        merged.remove(touching[0])
    return merged


def _pools(steps: list[PlanStep]) -> list[PlanStep]:
    """Let a convolution write the pooled image too."""
    merged = list(steps)
    for step in steps:
        pool, sources, pooled = step
        maker = next((other for other in merged if other[2] in sources[:1]), None)
        kinds = (Convolution, ActivatedConvolution)
        if maker is None or not isinstance(pool, Pool) or not isinstance(maker[0], kinds):
            continue
        halves = pool.window == pool.stride == (2, 2) and pool.before == (0, 0) and pool.maximum
        halves = halves and pool.dilation == (1, 1)
        views = (maker[1][0].view, maker[2].view, pooled.view)
        if not halves or wide_spec(maker[0], *views) is None:
            continue
        layer, inputs = f"{maker[0].layer} + {pool.layer}", maker[0].inputs
        both = PooledConvolution(layer, inputs, maker[0].output, maker[0], pool)
        merged[merged.index(maker)] = (both, (*maker[1], pooled), maker[2])
        merged.remove(step)
    return merged


def _openings(steps: list[PlanStep]) -> list[PlanStep]:
    """Let the first two convolutions be computed without what lies between them."""
    merged = list(steps)
    for step in steps:
        reader, sources, target = step
        if not sources:  # computed of constants alone
            continue
        second = reader.convolution if isinstance(reader, PooledConvolution) else reader
        touching = [s for s in merged if any(p.buffer == sources[0].buffer for p in (*s[1], s[2]))]
        kinds = (Convolution, ActivatedConvolution)
        if not isinstance(second, kinds) or len(touching) != 2 or touching[1] != step:
            continue
        maker, (image, *_), middle = touching[0]
        if not isinstance(maker, Convolution) or middle != sources[0]:
            continue
        layer = f"{maker.layer} + {reader.layer}"
        size = (middle.view.h, middle.view.w)
        both = Opening(layer, maker.inputs, reader.output, maker, second, size)
        pooled = sources[1].view if len(sources) > 1 else None
        if opening_spec(both, image.view, target.view, pooled) is not None:
            merged[merged.index(step)] = (both, (image, *sources[1:]), target)
            merged.remove(touching[0])
    return merged
