"""Merge operations on images: padding into what it pads for, steps into what they follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from segrt.cuda.image_operations import GatherPixels, GroupNormalize, Resample
from segrt.cuda.kernels.pointwise import Step
from segrt.cuda.operations import Chain, Convolution, Operation, Pair, Pool, Weights

Merged: TypeAlias = "tuple[Operation, ...] | None"


def _padded_convolution(maker: Operation, reader: Operation) -> Merged:
    """Let a convolution pad with zeros itself."""
    if not isinstance(maker, GatherPixels) or not isinstance(reader, Convolution):
        return None
    edges = _edges(maker)
    if edges is None or maker.fill != 0:
        return None
    before, after = edges
    return (
        replace(
            reader,
            inputs=(*maker.inputs, *reader.inputs[1:]),
            before=_sum(reader.before, before),
            after=_sum(reader.after, after),
        ),
    )


def _padded_pool(maker: Operation, reader: Operation) -> Merged:
    """Let a pool pad itself: with zeros that are counted, or with what no maximum sees."""
    if not isinstance(maker, GatherPixels) or not isinstance(reader, Pool):
        return None
    edges = _edges(maker)
    if edges is None:
        return None
    before, after = edges
    if reader.maximum and np.isneginf(maker.fill):
        before, after = _sum(reader.before, before), _sum(reader.after, after)
        return (replace(reader, inputs=maker.inputs, before=before, after=after),)
    plain = reader.before == reader.after == (0, 0)
    if reader.maximum or maker.fill != 0 or not plain:
        return None
    return (replace(reader, inputs=maker.inputs, before=before, after=after, count_padding=True),)


def _edges(maker: GatherPixels) -> tuple[Pair, Pair] | None:
    """Return what a gather adds above and left, below and right, if that is all it does."""
    if maker.channels is not None:
        return None
    (top, below), (left, right) = map(_ends, (maker.rows, maker.columns), maker.size)
    if min(top, below, left, right) < 0:
        return None
    return (top, left), (below, right)


def _ends(table: Weights, size: int) -> tuple[int, int]:
    """Return how often a table says -1 before and behind all places in order; -1 if it does not."""
    inside = np.flatnonzero(table >= 0)
    if not np.array_equal(table[inside], np.arange(size)):
        return -1, -1
    if inside[-1] - inside[0] + 1 != size:
        return -1, -1
    return int(inside[0]), int(table.size - 1 - inside[-1])


def _sum(a: Pair, b: Pair) -> Pair:
    return a[0] + b[0], a[1] + b[1]


def _resampled(maker: Operation, reader: Operation) -> Merged:
    """Join the resizing of rows to that of columns."""
    if not isinstance(maker, Resample) or not isinstance(reader, Resample):
        return None
    if _stays(reader.rows, reader.row_weights) and _stays(maker.columns, maker.column_weights):
        first, second = maker, reader
    elif _stays(maker.rows, maker.row_weights) and _stays(reader.columns, reader.column_weights):
        first, second = reader, maker
    else:
        return None
    return (
        Resample(
            reader.layer, maker.inputs, reader.output,
            first.rows, second.columns, first.row_weights, second.column_weights,
        ),
    )  # fmt: skip


def _stays(places: Weights, weights: Weights) -> bool:
    plain = places.shape[1] == 1 and np.array_equal(places[:, 0], np.arange(len(places)))
    return plain and bool((weights == 1).all())


def _normalised(maker: Operation, reader: Operation) -> Merged:
    """Let a normalization scale, shift and cut off at zero what follows it so."""
    if not isinstance(maker, GroupNormalize) or not isinstance(reader, Chain) or maker.relu:
        return None
    if len(reader.inputs) != 1:
        return None
    (scale, shift), relu, vectors = maker.vectors, False, list(reader.vectors)
    for step in reader.steps:
        if relu:
            return None
        number = _number(step, vectors)
        if step.op == "relu":
            relu = True
        elif step.op in ("add", "sub") and number is not None:
            shift = shift + number if step.op == "add" else shift - number
        elif step.op == "mul" and number is not None:
            scale, shift = scale * number, shift * number
        else:
            return None
    made = np.stack([scale, shift]).astype(np.float32)
    return (replace(maker, output=reader.output, vectors=made, relu=relu),)


def _number(step: Step, vectors: list[Weights]) -> Weights | float | None:
    """Return what a step works with: one number, or one a channel, taken from ``vectors``."""
    if step.other == "number":
        return step.settings[0]
    return vectors.pop(0) if step.other == "channel" else None


IMAGE_RULES: tuple[Callable[[Operation, Operation], Merged], ...] = (
    _padded_convolution,
    _padded_pool,
    _resampled,
    _normalised,
)
