"""Let the first layer prepare the pixels: one factor and shift a channel, and their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segrt.cuda.image_operations import GatherPixels
from segrt.cuda.operations import Chain, Convolution, Import, Join, Operation, Program, Weights

_MOST_CHANNELS = 4
_MOST_WINDOW = 7
_VECTOR = 8


def prepare_pixels(program: Program) -> Program:
    """Return a program whose first convolutions read images as they come."""
    for operation in program.operations:
        if isinstance(operation, Convolution) and _can_prepare(program, operation):
            program = _prepared(program, operation)
    return program


def _can_prepare(program: Program, operation: Convolution) -> bool:
    """Say whether the kernel of first layers will surely compute a convolution.

    It alone can prepare pixels, and writes vectors; in a slice these might not be aligned.
    """
    outputs, inputs, *window = operation.kernel.shape
    plain = operation.stride == operation.dilation == (1, 1) and operation.groups == 1
    small = inputs <= _MOST_CHANNELS and max(window) <= _MOST_WINDOW
    bytes_of_weights = 4 * operation.kernel.size
    readers = [op for op in program.operations if operation.output in op.inputs]
    return (
        plain
        and not operation.residual
        and small
        and outputs % _VECTOR == 0
        and bytes_of_weights <= 48 * 1024
        and not any(isinstance(reader, Join) for reader in readers)
    )


def _prepared(program: Program, operation: Convolution) -> Program:
    """Take away what prepares the pixels of one convolution, from the nearest to the farthest."""
    makers = {maker.output: maker for maker in program.operations}
    found = operation
    while True:
        maker = makers.get(found.inputs[0])
        if maker is None or isinstance(maker, Import):
            break
        taken = _taken(maker, found)
        if taken is None:
            break
        found = taken
    # Half a preparation would leave a pass over the image all the same.
    if found is operation or not isinstance(makers.get(found.inputs[0]), Import):
        return program
    # Kernels that read bytes keep their weights in enough digits for small factors.
    if program.types.get(found.inputs[0]) == "uint8":
        found = _without_factors(found)
    operations = [found if op is operation else op for op in program.operations]
    return replace(program, operations=tuple(_without_unread(operations, program.outputs)))


def _without_factors(operation: Convolution) -> Convolution:
    """Let the weights take over the factors where nothing is shifted: padding stays zero."""
    if operation.ranges is None or operation.scales is not None or operation.ranges[1].any():
        return operation
    kernel = operation.kernel * operation.ranges[0].reshape(1, -1, 1, 1)
    return replace(operation, kernel=kernel.astype(np.float32), ranges=None)


def _taken(maker: Operation, reader: Convolution) -> Convolution | None:
    """Return a convolution that reads what ``maker`` reads; None if it cannot do its work."""
    if isinstance(maker, Chain) and len(maker.inputs) == 1:
        ranges = _ranges(maker, reader.kernel.shape[1])
        if ranges is None:
            return None
        if reader.ranges is not None:
            factor, shift = reader.ranges
            ranges = np.stack([ranges[0] * factor, ranges[1] * factor + shift])
        return replace(reader, inputs=maker.inputs, ranges=ranges.astype(np.float32))
    if not isinstance(maker, GatherPixels) or maker.channels is None:
        return None
    order = maker.channels
    whole = [np.arange(size) for size in maker.size]
    same = np.array_equal(maker.rows, whole[0]) and np.array_equal(maker.columns, whole[1])
    if not same or not np.array_equal(np.sort(order), np.arange(reader.kernel.shape[1])):
        return None
    back = np.argsort(order)
    ranges = None if reader.ranges is None else reader.ranges[:, back]
    return replace(reader, inputs=maker.inputs, kernel=reader.kernel[:, back], ranges=ranges)


def _ranges(maker: Chain, channels: int) -> Weights | None:
    """Return factors and shifts that a chain comes to; None if it is not of that kind."""
    factor, shift = np.ones(channels), np.zeros(channels)
    vectors = list(maker.vectors)
    for step in maker.steps:
        if step.op == "identity":
            continue
        other: Weights | float = step.settings[0] if step.other == "number" else np.nan
        if step.other == "channel":
            other = vectors.pop(0).astype(np.float64)
        if step.other not in ("number", "channel") or step.op not in ("add", "sub", "mul", "div"):
            return None
        if step.op in ("add", "sub"):
            shift = shift + other if step.op == "add" else shift - other
        else:
            by = other if step.op == "mul" else 1 / np.asarray(other)
            factor, shift = factor * by, shift * by
    return np.stack([factor, shift])


def _without_unread(operations: list[Operation], outputs: tuple[str, ...]) -> list[Operation]:
    kept: list[Operation] = []
    read = set(outputs)
    for operation in reversed(operations):
        if operation.output in read:
            read |= set(operation.inputs)
            kept.append(operation)
    return kept[::-1]
