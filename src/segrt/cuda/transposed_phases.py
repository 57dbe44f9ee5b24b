"""Transposed convolutions that make an image twice as large, as phases and their shuffle.

With a stride of 2 and ``before`` pixels cut off, pixel ``o`` of the result sums taps ``t`` of the
pixels ``i`` with ``o + before = 2 * i + t``. So pixel ``2 * q + a`` meets the pixels ``q + d``
with ``d = (a + before - t) / 2``, for every second tap: phase ``a`` is a convolution of the small
image with stride 1. All phases together are one, whose kernel holds zeros where a tap does not
belong to a phase: the same sums, in another order, as merged upsampling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from segrt.cuda.operations import (
    Convolution,
    MergedUpsampling,
    Operation,
    Program,
    TransposedConvolution,
)

# Of the convolution to phases; what own kernels take. Kernels of 2 to 6 taps come to it.
_MOST_WINDOW = 3
# Beyond this so many products are with zeros that integers gain nothing by it.
_MOST_INTEGER_WINDOW = 2


def with_relu(operation: MergedUpsampling, output: str) -> MergedUpsampling:
    """Return an operation that cuts off at zero, and what it makes then."""
    inner, before = replace(operation.convolution, activation="relu"), operation.transposed
    turned = None if before is None else replace(before, activation="relu")
    return replace(operation, output=output, convolution=inner, transposed=turned)


def merge_transposed(program: Program) -> Program:
    """Return a program with phases in the place of every transposed convolution that has them."""
    operations = tuple(
        _as_phases(operation, program)
        if isinstance(operation, TransposedConvolution)
        else operation
        for operation in program.operations
    )
    return replace(program, operations=operations)


@dataclass(frozen=True, slots=True)
class _Axis:
    """How one axis of the convolution to phases works.

    Attributes:
        window: Its taps.
        before: Zeros in front of the small image.
        places: (phase, its tap, the transposed convolution's tap).
    """

    window: int
    before: int
    places: tuple[tuple[int, int, int], ...]


def _axis(taps: int, cut: int) -> _Axis | None:
    """Return the axis for a kernel of so many taps with ``cut`` pixels cut off in front."""
    met = [
        (phase, (phase + cut - tap) // 2, tap)
        for phase in range(2)
        for tap in range(taps)
        if (phase + cut - tap) % 2 == 0
    ]
    first, last = (end(place for _, place, _ in met) for end in (min, max))
    window = last - first + 1
    if taps < 2 or first > 0 or last < 0 or window > _MOST_WINDOW:
        return None
    return _Axis(window, -first, tuple((phase, place - first, tap) for phase, place, tap in met))


def _as_phases(operation: TransposedConvolution, program: Program) -> Operation:
    """Return the phases of a transposed convolution; itself where it is of another kind."""
    small, large = (program.shapes[name][-2:] for name in (operation.inputs[0], operation.output))
    twice = operation.stride == (2, 2) and large == (2 * small[0], 2 * small[1])
    if not twice or operation.dilation != (1, 1) or operation.groups != 1:
        return operation
    inputs, outputs, height, width = operation.kernel.shape
    rows, columns = _axis(height, operation.before[0]), _axis(width, operation.before[1])
    if rows is None or columns is None:
        return operation
    window = (rows.window, columns.window)
    kernel = np.zeros((2, 2, outputs, inputs, *window), np.float32)
    for (y, at_y, tap_y), (x, at_x, tap_x) in (
        (row, column) for row in rows.places for column in columns.places
    ):
        kernel[y, x, :, :, at_y, at_x] = operation.kernel[:, :, tap_y, tap_x].T
    whole = operation.scales is not None and max(window) <= _MOST_INTEGER_WINDOW
    inner = Convolution(
        operation.layer,
        operation.inputs,
        operation.output,
        kernel.reshape(4 * outputs, inputs, *window),
        np.tile(operation.bias, 4),
        (1, 1),
        (1, 1),
        (rows.before, columns.before),
        (rows.window - 1 - rows.before, columns.window - 1 - columns.before),
        1,
        operation.activation,
        np.tile(operation.scales, 4) if whole and operation.scales is not None else None,
    )
    return MergedUpsampling(
        operation.layer,
        operation.inputs,
        operation.output,
        inner,
        operation,
        sizes=operation.sizes,
    )
