"""Slices, single indices and gathered ones; flip and roll."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.operations._axes import (
    inserted,
    items_of,
    order_of,
    settle,
    squeezed,
    vector,
)
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import (
    INT,
    axes_of,
    axis_of,
    cast,
    contents,
    integer,
    integers,
    kind,
    remember,
    sizes_of,
    tensor,
)
from segrt.importers.operations.joining import concatenated
from segrt.importers.operations.shaping import reshaped

_FAR = (1 << 63) - 1
ELLIPSIS, NEW = "...", "new axis"


@dataclass
class Cut:
    """What an index asks for: slices of axes, axes to drop, axes to insert.

    Attributes:
        slices: Axis -> start, stop, step; ends may be tensors or None.
        single: Axis -> one index, by which the axis disappears.
        new: Places of new axes in the result.
    """

    slices: dict[int, tuple[Operand, Operand, int]] = field(default_factory=dict)
    single: dict[int, Operand] = field(default_factory=dict)
    new: list[int] = field(default_factory=list)


@operation("tf:__operators__.getitem(tensor|x>x, slice_spec>key)", "keras:GetItem(x, key)")
def getitem(call: Call, x: Operand, key: Operand) -> Tensor:
    """``x[key]`` with integers, slices, ``...`` and new axes."""
    # A list is a tuple of indices, as Keras writes those.
    items = [_read(call, item) for item in (key if isinstance(key, list | tuple) else [key])]
    return indexed(call, tensor(call, x), items)


def _read(call: Call, item: Any) -> Any:
    if isinstance(item, dict):
        config = item.get("config")
        inner: dict[str, Any] = config if isinstance(config, dict) else item
        if "ellipsis" in str(item.get("class_name")):
            return ELLIPSIS
        if {"start", "stop", "step"} <= set(inner):
            return slice(*(inner[name] for name in ("start", "stop", "step")))
    if item is None:
        return NEW
    if isinstance(item, Tensor):
        if kind(item) is INT and not item.rank:
            return item
    elif isinstance(item, int | np.integer) and not isinstance(item, bool):
        return int(item)
    raise call.unsupported("an index", item, "integers, slices, ... and new axes")


def indexed(call: Call, x: Tensor, items: Sequence[Any]) -> Tensor:
    """Index a tensor; items are integers, scalar tensors, slices, `ELLIPSIS` and `NEW`."""
    cut = _plan(call, x, items)
    result = _sliced(call, x, cut.slices)
    dynamic = [axis for axis, at in cut.single.items() if contents(at) is None]
    for axis in sorted(dynamic, reverse=True):
        at = call.source(cast(call, cut.single[axis], INT))
        stored = call.stored_axis(result, axis)
        value = call.op("Gather", [result.value, at], role="picked", axis=stored)
        result = settle(call, value, [item for item in order_of(result) if item != axis])
    single = [
        axis - sum(other < axis for other in dynamic) for axis in cut.single if axis not in dynamic
    ]
    result = inserted(call, squeezed(call, result, single), cut.new)
    known = contents(x)
    if known is None or known.ndim != 1 or dynamic:
        return result
    try:
        return remember(result, np.asarray(known[_plain(items)], dtype=object))
    except (IndexError, TypeError):
        return result


def _plan(call: Call, x: Tensor, items: Sequence[Any]) -> Cut:
    taken = sum(1 for item in items if item not in (ELLIPSIS, NEW) or isinstance(item, Tensor))
    if taken > x.rank or sum(1 for item in items if item is ELLIPSIS) > 1:
        raise call.unsupported("an index", f"{len(items)} items", f"{x.rank} or fewer")
    cut, axis, place = Cut(), 0, 0
    for item in items:
        if item is ELLIPSIS:
            axis, place = axis + x.rank - taken, place + x.rank - taken
        elif item is NEW:
            cut.new.append(place)
            place += 1
        elif isinstance(item, slice):
            step = 1 if item.step is None else integer(call, "step", item.step)
            cut.slices[axis] = (item.start, item.stop, step)
            axis, place = axis + 1, place + 1
        else:
            cut.single[axis] = item
            known = contents(item)
            if known is not None and isinstance(known.item(), int):
                at = int(known.item())
                cut.slices[axis] = (at, None if at == -1 else at + 1, 1)
            axis += 1
    return cut


def _sliced(call: Call, x: Tensor, slices: dict[int, tuple[Operand, Operand, int]]) -> Tensor:
    real = {axis: ends for axis, ends in slices.items() if ends != (None, None, 1)}
    if not real:
        return x
    starts, stops, steps, axes, free = [], [], [], [], []
    for axis, (start, stop, step) in real.items():
        first, last = (0, _FAR) if step > 0 else (_FAR, -_FAR)
        starts.append(first if start is None else start)
        stops.append(last if stop is None else stop)
        steps.append(step)
        axes.append(call.stored_axis(x, axis))
        known = [contents(end) for end in (starts[-1], stops[-1])]
        free.append(any(item is None or not isinstance(item.item(), int) for item in known))
    inputs = [
        x.value,
        _ends(call, "starts", starts),
        _ends(call, "stops", stops),
        call.ints("axes", axes),
        call.ints("steps", steps),
    ]
    value = call.op("Slice", inputs, role="sliced")
    sizes: list[Any] = list(x.value.shape or ())
    for (axis, (start, stop, step)), unknown in zip(real.items(), free, strict=True):
        stored, size = call.stored_axis(x, axis), x.shape[axis]
        if unknown or size is None:
            sizes[stored] = _length(start, stop, step) if not unknown else None
        else:
            sizes[stored] = len(range(size)[slice(_int(start), _int(stop), step)])
    value.shape = ir.Shape(sizes)
    return Tensor(value, x.layout)


def _ends(call: Call, role: str, ends: list[Operand]) -> ir.Value:
    """Return ends of slices; the far ones are no sizes, so they are not looked at as such."""
    if all(isinstance(end, int) for end in ends):
        return call.ints(role, ends)
    return call.op("Concat", [vector(call, role, end) for end in ends], role=role, axis=0)


def _int(end: Operand) -> int | None:
    known = None if end is None else contents(end)
    return None if known is None else int(known.item())


def _length(start: Operand, stop: Operand, step: int) -> int | None:
    """Return a slice's length where it follows from the end alone: ``x[-1:]``."""
    first, last = _int(start), _int(stop)
    single = first is not None and (last == first + 1 or (first == -1 and last is None))
    return 1 if single and step == 1 else None


def _plain(items: Sequence[Any]) -> Any:
    def one(item: Any) -> Any:
        if isinstance(item, slice):
            return slice(*(_int(end) for end in (item.start, item.stop, item.step)))
        return np.newaxis if item is NEW else Ellipsis if item is ELLIPSIS else _int(item)

    return tuple(one(item) for item in items)


@operation(
    "node:StridedSlice(x, begin, end, strides, begin_mask=0, end_mask=0, ellipsis_mask=0, "
    "new_axis_mask=0, shrink_axis_mask=0)",
    "tf:strided_slice(input_>x, begin, end, strides=None, begin_mask=0, end_mask=0, "
    "ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=0)",
)
def strided_slice(
    call: Call, x: Operand, begin: Operand, end: Operand, strides: Operand, **masks: int
) -> Tensor:
    """An index as TensorFlow's kernel has it: ends and steps, and a bit of each mask an item."""
    count = len(items_of(call, "begin", begin))
    starts, stops = _entries(call, begin, count), _entries(call, end, count)
    steps = [1] * count if strides is None else integers(call, "strides", strides)
    found: list[Any] = []
    for bit in range(count):
        on = {name for name, mask in masks.items() if int(mask) >> bit & 1}
        if "ellipsis_mask" in on:
            found.append(ELLIPSIS)
        elif "new_axis_mask" in on:
            found.append(NEW)
        elif "shrink_axis_mask" in on:
            found.append(starts[bit])
        else:
            start = None if "begin_mask" in on else starts[bit]
            stop = None if "end_mask" in on else stops[bit]
            found.append(slice(start, stop, steps[bit]))
    return indexed(call, tensor(call, x), found)


def _entries(call: Call, ends: Operand, count: int) -> list[Operand]:
    """Return the elements of a vector, each a number or a scalar tensor."""
    items = items_of(call, "the ends", ends)
    whole = None if all(isinstance(item, int) for item in items) else ends
    if isinstance(whole, list | tuple):
        return list(whole)
    entries: list[Operand] = []
    for at, item in enumerate(items):
        if isinstance(item, int) or whole is None:
            entries.append(item)
        else:
            entries.append(indexed(call, cast(call, whole, INT), [at]))
    return entries


@operation(
    "tf:slice(input_>x, begin, size)",
    "node:Slice(input>x, begin, size)",
    "keras:Slice(inputs>x, start_indices>begin, shape>size)",
)
def slice_(call: Call, x: Operand, begin: Operand, size: Operand) -> Tensor:
    """Take a box: from ``begin``, so large; -1 is all that is left."""
    x = tensor(call, x)
    starts, sizes = integers(call, "begin", begin), items_of(call, "size", size)
    known = sizes_of(x).tolist()
    ends: list[Any] = []
    for at, (start, length) in enumerate(zip(starts, sizes, strict=True)):
        if length == -1 or (length is not None and length == known[at] and not start):
            ends.append(slice(start or None, None, None))
        elif isinstance(length, int):
            ends.append(slice(start, start + length, None))
        else:
            raise call.unsupported("size", sizes, "known sizes")
    return indexed(call, x, ends)


@operation(
    "tf:gather|gather_v2(params>x, indices, axis=None, batch_dims=0)",
    "node:GatherV2(params>x, indices, axis, batch_dims=0)",
    "node:Gather(params>x, indices)",
    "keras:Take(x, indices, axis=None)",
)
def gather(
    call: Call, x: Operand, indices: Operand, axis: Operand = None, batch_dims: Operand = 0
) -> Tensor:
    """Take indices along an axis."""
    x = tensor(call, x)
    if integer(call, "batch_dims", batch_dims):
        raise call.unsupported("batch_dims", batch_dims, "0")
    if axis is None:
        x = reshaped(call, x, [-1]) if call.class_name.startswith("keras.ops") else x
        axis = 0
    at, where = axis_of(call, x, axis), cast(call, indices, INT)
    known = contents(indices)
    if where.rank == 1 or (known is not None and known.ndim <= 1):
        stored = call.stored_axis(x, at)
        value = call.op("Gather", [x.value, call.source(where)], role="gathered", axis=stored)
        if where.rank == 1:
            result = Tensor(value, x.layout)
        else:
            result = settle(call, value, [item for item in order_of(x) if item != at])
        inner = contents(x)
        if inner is not None and known is not None and inner.ndim == 1:
            remember(result, np.asarray(inner[known.astype(int)], dtype=object))
        return result
    value = call.op("Gather", [call.source(x), call.source(where)], role="gathered", axis=at)
    return Tensor(value, Layout.SOURCE)


@operation(
    "tf:reverse|reverse_v2(tensor>x, axis)",
    "node:ReverseV2(tensor>x, axis)",
    "keras:Flip(x, axis=None)",
)
def flip(call: Call, x: Operand, axis: Operand) -> Tensor:
    """Turn axes round."""
    x = tensor(call, x)
    return flipped(call, x, axes_of(call, x, axis))


@operation("tf:image.flip_left_right(image>x)", "keras:Fliplr(x)")
def flip_columns(call: Call, x: Operand) -> Tensor:
    """Turn the columns of images round (of a matrix, for Keras 3)."""
    x = tensor(call, x)
    return flipped(call, x, [1 if call.class_name.startswith("keras.ops") else x.rank - 2])


@operation("tf:image.flip_up_down(image>x)", "keras:Flipud(x)")
def flip_rows(call: Call, x: Operand) -> Tensor:
    """Turn the rows of images round (of a matrix, for Keras 3)."""
    x = tensor(call, x)
    return flipped(call, x, [0 if call.class_name.startswith("keras.ops") else x.rank - 3])


def flipped(call: Call, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Turn axes of Keras' order round."""
    return _sliced(call, x, dict.fromkeys(axes, (None, None, -1)))


@operation(
    "tf:roll(input>x, shift, axis)",
    "node:Roll(input>x, shift, axis)",
    "keras:Roll(x, shift, axis=None)",
)
def roll(call: Call, x: Operand, shift: Operand, axis: Operand) -> Tensor:
    """Move along axes; what leaves at one end comes in at the other."""
    result = tensor(call, x)
    if axis is None:
        raise call.unsupported("axis", axis, "an axis")
    shifts, axes = integers(call, "shift", shift), axes_of(call, result, axis)
    if len(shifts) not in (1, len(axes)):
        raise call.unsupported("shift", shifts, f"{len(axes)} numbers")
    for at, count in zip(axes, shifts * (len(axes) if len(shifts) == 1 else 1), strict=True):
        size = result.shape[at]
        moved = count % size if size is not None else count
        if moved:
            behind = _sliced(call, result, {at: (-moved, None, 1)})
            before = _sliced(call, result, {at: (None, -moved, 1)})
            result = concatenated(call, [behind, before], at)
    return result
