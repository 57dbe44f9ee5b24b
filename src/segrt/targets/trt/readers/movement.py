"""What moves elements: concatenations, shuffles, slices, pads, gathers, shapes."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.targets.trt.readers._base import Numbers, Reader, reads

# To the front, in a slice that goes backwards.
_FRONT = -(1 << 31)
_PAD_MODES = {"FILL": "constant", "CLAMP": "edge", "REFLECT": "reflect"}


@reads("CONCATENATION")
def concatenation(reader: Reader, layer: Any) -> ir.Value:
    """Read a concatenation."""
    inputs = [reader.input(index) for index in range(layer.num_inputs)]
    return reader.op("Concat", inputs, axis=layer.axis)


@reads("SHUFFLE")
def shuffle(reader: Reader, layer: Any) -> ir.Value:
    """Read a transpose, a reshape, a transpose: what of these there is."""
    x = _transposed(reader, reader.input(0), layer.first_transpose)
    target = reader.optional(1)
    if target is None and layer.reshape_dims is not None:
        target = reader.ints(list(layer.reshape_dims))
    if target is not None:
        allow = {} if layer.zero_is_placeholder else {"allowzero": 1}
        # An allowed zero excludes -1 in ONNX; with no zero in it there is nothing to allow.
        known = layer.reshape_dims if reader.optional(1) is None else None
        if known is not None and 0 not in list(known):
            allow = {}
        x = reader.op("Reshape", [x, target], **allow)
    return _transposed(reader, x, layer.second_transpose)


def _transposed(reader: Reader, x: ir.Value, held: Any) -> ir.Value:
    # A permutation is held for eight axes; only those that there are count.
    axes = list(held)[: len(x.shape or ())]
    return x if axes == sorted(axes) else reader.op("Transpose", [x], perm=axes)


@reads("PADDING")
def padding(reader: Reader, layer: Any) -> ir.Value:
    """Read zeros around (or a cut off, where negative) the last two axes."""
    x = reader.input(0)
    rest = [0] * (len(x.shape or ()) - 2)
    pads = [*rest, *layer.pre_padding_nd, *rest, *layer.post_padding_nd]
    return reader.op("Pad", [x, reader.ints(pads)], mode="constant")


@reads("SLICE")
def slice_(reader: Reader, layer: Any) -> ir.Value:
    """Read a slice: a cut, a broadcast (stride 0) or padding by a rule."""
    start = _numbers(reader, 1, layer.start)
    size = _numbers(reader, 2, layer.shape)
    stride = _numbers(reader, 3, layer.stride)
    if isinstance(stride, ir.Value):
        raise reader.refuse("strides computed at run time", "constants")
    mode, axes = reader.enum(layer.mode), _slice_axes(reader, layer, len(stride))
    if mode in _PAD_MODES:
        if any(step != 1 for step in stride):
            raise reader.refuse(f"strides {stride} with padding", "1")
        return _pad(reader, _PAD_MODES[mode], start, size, axes)
    if mode == "WRAP":
        return _tile(reader, start, size)
    if mode not in ("STRICT_BOUNDS", "DEFAULT"):
        raise reader.refuse(f"slice mode {mode}", ", ".join(_PAD_MODES))
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


def _tile(reader: Reader, start: Numbers, size: Numbers) -> ir.Value:
    """Read a slice that goes round: whole repetitions only."""
    x = reader.input(0)
    known = static_shape(x)
    if isinstance(start, ir.Value) or isinstance(size, ir.Value) or None in known or any(start):
        raise reader.refuse("a slice that goes round from elsewhere than 0", "known sizes")
    counts = [n / (full or 1) for n, full in zip(size, known, strict=True)]
    if any(count % 1 for count in counts):
        raise reader.refuse(f"{counts} repetitions", "whole ones")
    return reader.op("Tile", [x, reader.ints([int(count) for count in counts])])


def _slice_axes(reader: Reader, layer: Any, count: int) -> list[int]:
    """Return the axes that a slice's numbers are for; the parser names only those it cuts."""
    if reader.optional(5) is not None:
        raise reader.refuse("axes computed at run time", "constants")
    held = getattr(layer, "axes", None)
    return list(range(count)) if held is None or not len(held) else list(held)


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
        return value
    if held is None:
        raise reader.refuse(f"no input {index} and no numbers", "one of them")
    return list(held)


@reads("SHAPE")
def shape(reader: Reader, _layer: Any) -> ir.Value:
    """Read the sizes of a tensor."""
    return reader.op("Shape", [reader.input(0)])


@reads("GATHER")
def gather(reader: Reader, layer: Any) -> ir.Value:
    """Read a choice of entries along an axis."""
    mode, inputs = reader.enum(layer.mode), [reader.input(0), reader.input(1)]
    shared = layer.num_elementwise_dims
    if mode == "ND":
        wide = reader.op("Cast", [inputs[1]], to=int(ir.DataType.INT64))
        return reader.op("GatherND", [inputs[0], wide], batch_dims=shared)
    if shared:
        raise reader.refuse(f"{shared} shared axes with gather mode {mode}", "none")
    if mode not in ("DEFAULT", "ELEMENT"):
        raise reader.refuse(f"gather mode {mode}", "DEFAULT, ELEMENT or ND")
    return reader.op("Gather" if mode == "DEFAULT" else "GatherElements", inputs, axis=layer.axis)


@reads("ONE_HOT")
def one_hot(reader: Reader, layer: Any) -> ir.Value:
    """Read one-hot codes; ONNX wants the depth before the values."""
    inputs = [reader.input(0), reader.input(2), reader.input(1)]
    return reader.op("OneHot", inputs, axis=layer.axis)


@reads("SQUEEZE", "UNSQUEEZE")
def change_rank(reader: Reader, layer: Any) -> ir.Value:
    """Read axes of size 1 taken out or put in."""
    squeezes = reader.enum(layer.type) == "SQUEEZE"
    op_type = "Squeeze" if squeezes else "Unsqueeze"
    axes = reader.op("Cast", [reader.input(1)], to=int(ir.DataType.INT64))
    return reader.op(op_type, [reader.input(0), axes])
