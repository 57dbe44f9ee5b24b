"""Slices: cuts, broadcasts, repetitions, and padding by a rule."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.targets.trt.readers._base import Numbers, Reader, reads

# To the front, in a slice that goes backwards.
_FRONT = -(1 << 31)
_CUTS = ("STRICT_BOUNDS", "DEFAULT")
_PAD_MODES = {"FILL": "constant", "CLAMP": "edge", "REFLECT": "reflect"}


@reads("SLICE")
def slice_(reader: Reader, layer: Any) -> ir.Value:
    """Read a slice: a cut, a broadcast (stride 0), a repetition or padding by a rule."""
    start = _numbers(reader, 1, layer.start)
    size = _numbers(reader, 2, layer.shape)
    stride = _numbers(reader, 3, layer.stride)
    mode, axes = reader.enum(layer.mode), _slice_axes(reader, layer)
    if mode == "WRAP" or isinstance(stride, ir.Value):
        return _walk(reader, mode, (start, size, stride), axes)
    axes = axes or list(range(len(stride)))
    if mode in _PAD_MODES:
        if any(step != 1 for step in stride):
            raise reader.refuse(f"strides {stride} with padding", "1")
        return _pad(reader, _PAD_MODES[mode], start, size, axes)
    if mode not in _CUTS:
        raise reader.refuse(f"slice mode {mode}", ", ".join((*_CUTS, *_PAD_MODES, "WRAP")))
    x = reader.input(0)
    moving = [place for place, step in enumerate(stride) if step]
    starts = _pick(reader, start, moving)
    ends = _pick(reader, _end(reader, start, size, stride), moving)
    steps = reader.ints([stride[place] for place in moving])
    cut = reader.ints([axes[place] for place in moving])
    x = reader.op("Slice", [x, starts, ends, cut, steps])
    if len(moving) == len(stride):
        return x
    if axes != list(range(len(x.shape or ()))):
        raise reader.refuse(f"strides {stride} on axes {axes}", "all axes")
    return reader.op("Expand", [x, reader.numbers(size)])


def _walk(
    reader: Reader, mode: str, numbers: tuple[Numbers, Numbers, Numbers], axes: list[int]
) -> ir.Value:
    """Read a slice as what it is by definition: entry i of an axis is ``start + i * stride``.

    The numbers are those three: start, size and stride.
    Going round, places count on from the front again. Nothing has to be known before it runs.
    """
    if mode not in (*_CUTS, "WRAP"):
        raise reader.refuse(f"strides computed at run time with padding {mode}", "constants")
    x = reader.input(0)
    zero, one = reader.whole(0), reader.whole(1)
    for place, axis in enumerate(axes or range(len(x.shape or ()))):
        first, count, step = (
            reader.op("Gather", [reader.numbers(part), reader.whole(place)], axis=0)
            for part in numbers
        )
        steps = reader.op("Mul", [reader.op("Range", [zero, count, one]), step])
        places = reader.op("Add", [steps, first])
        if mode == "WRAP":
            full = reader.op("Shape", [x], start=axis, end=axis + 1)
            places = reader.op("Mod", [places, full])
        x = reader.op("Gather", [x, places], axis=axis)
    return x


def _slice_axes(reader: Reader, layer: Any) -> list[int]:
    """Return the axes that a slice's numbers are for, none for all of them, in order."""
    if reader.optional(5) is not None:
        raise reader.refuse("axes computed at run time", "constants")
    held = getattr(layer, "axes", None)
    return [] if held is None else list(held)


def _pick(reader: Reader, numbers: Numbers, places: list[int]) -> ir.Value:
    if isinstance(numbers, ir.Value):
        return reader.op("Gather", [numbers, reader.ints(places)], axis=0)
    return reader.ints([numbers[place] for place in places])


def _end(reader: Reader, start: Numbers, size: Numbers, stride: list[int]) -> Numbers:
    """Return the bound behind each axis' last element."""
    if isinstance(start, ir.Value) or isinstance(size, ir.Value):
        way = reader.op("Mul", [reader.numbers(size), reader.ints(stride)])
        bound = reader.op("Add", [reader.numbers(start), way])
        if all(step > 0 for step in stride):
            return bound
        beyond = reader.op("Less", [bound, reader.ints([0])])
        return reader.op("Where", [beyond, reader.ints([_FRONT]), bound])
    ends = [a + n * step for a, n, step in zip(start, size, stride, strict=True)]
    # Going backwards to the front: -1 would mean the last element.
    return [_FRONT if step < 0 and end < 0 else end for end, step in zip(ends, stride, strict=True)]


def _pad(reader: Reader, mode: str, start: Numbers, size: Numbers, axes: list[int]) -> ir.Value:
    """Read a slice that reaches beyond its input."""
    x = reader.input(0)
    shape = static_shape(x)
    known = [shape[axis] for axis in axes]
    rest = [reader.optional(4), reader.ints(axes)]
    if isinstance(start, list) and isinstance(size, list) and None not in known:
        before = [-a for a in start]
        after = [
            n - (full or 0) - front for n, full, front in zip(size, known, before, strict=True)
        ]
        return reader.op("Pad", [x, reader.ints([*before, *after]), *rest], mode=mode)
    front = reader.op("Neg", [reader.numbers(start)])
    sizes = reader.op("Gather", [reader.op("Shape", [x]), reader.ints(axes)], axis=0)
    grown = reader.op("Sub", [reader.numbers(size), sizes])
    pads = reader.op("Concat", [front, reader.op("Sub", [grown, front])], axis=0)
    value = reader.op("Pad", [x, pads, *rest], mode=mode)
    value.shape = ir.Shape([None] * len(shape))
    return value


def _numbers(reader: Reader, index: int, held: Any) -> Numbers:
    """Return a slice's start, size or stride: a tensor where it is one, else what it holds."""
    value = reader.optional(index)
    if value is not None:
        return reader.int64(value)
    if held is None:
        raise reader.refuse(f"no input {index} and no numbers", "one of them")
    return list(held)
