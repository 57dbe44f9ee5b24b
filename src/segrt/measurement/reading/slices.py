"""Which elements a Slice takes along each axis."""

from __future__ import annotations

from segrt.measurement.reading.step import Step


def read_slices(step: Step) -> list[slice]:
    """Return a slice for each axis of a Slice node's input, as NumPy understands it."""
    sizes = step.shape()
    starts, ends = step.numbers(1), step.numbers(2)
    if starts is None or ends is None:
        raise step.refuse(" without its ends")
    axes = step.numbers(3) or list(range(len(starts)))
    steps = step.numbers(4) or [1] * len(starts)
    slices = [slice(None)] * len(sizes)
    for start, end, axis, stride in zip(starts, ends, axes, steps, strict=True):
        size = sizes[axis]
        # ONNX clamps what lies outside; a step backwards may end before the first element.
        low, high = (0, size) if stride > 0 else (-1, size - 1)
        first, last = (
            min(max(place + size if place < 0 else place, low), high) for place in (start, end)
        )
        if stride < 0 and first < 0:
            first = 0
        slices[axis] = slice(first, None if last < 0 else last, stride)
    return slices


def read_pads(step: Step) -> list[tuple[int, int]]:
    """Return how much a Pad node adds before and behind each axis."""
    rank = len(step.shape())
    given = step.numbers(1) or step.integers("pads") or [0] * (2 * rank)
    axes = [axis % rank for axis in step.numbers(3) or range(rank)]
    pads = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        pads[axis] = (given[place], given[place + len(axes)])
    return pads
