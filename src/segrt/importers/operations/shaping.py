"""Shapes: asking for them, reshape, new and dropped axes, broadcasting."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.operations._axes import (
    Item,
    inserted,
    items_of,
    order_of,
    picked,
    shaped,
    squeezed,
    vector,
)
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import (
    axes_of,
    integer,
    integers,
    remember,
    sizes_of,
    tensor,
)


def size_vector(call: Call, x: Tensor) -> ir.Value:
    """Return the shape in Keras' order, computed when the network runs."""
    stored = call.op("Shape", [x.value], role="stored_shape")
    return picked(call, "shape", stored, [order_of(x).index(axis) for axis in range(x.rank)])


@operation("tf:shape|shape_v2(input>x, out_type=None)", "node:Shape(input>x, out_type=None)")
def shape(call: Call, x: Operand, out_type: object = None) -> Tensor:
    """Return the shape as a vector."""
    x = tensor(call, x)
    return remember(Tensor(size_vector(call, x), Layout.SOURCE), sizes_of(x))


@operation("tf:size(input>x, out_type=None)", "node:Size(input>x, out_type=None)", "keras:Size(x)")
def size(call: Call, x: Operand, out_type: object = None) -> Tensor:
    """Return the number of elements."""
    x = tensor(call, x)
    known = np.empty((), dtype=object)
    sizes = sizes_of(x).tolist()
    known[()] = math.prod(sizes) if all(isinstance(item, int) for item in sizes) else None
    return remember(Tensor(call.op("Size", [x.value]), Layout.SOURCE), known)


@operation("tf:rank(input>x)", "node:Rank(input>x)", "keras:Ndim(x)")
def rank(call: Call, x: Operand) -> Tensor:
    """Return the number of axes."""
    return Tensor(call.constant("rank", np.int64(tensor(call, x).rank)), Layout.SOURCE)


@operation(
    "tf:reshape(tensor>x, shape)",
    "node:Reshape(tensor>x, shape)",
    "keras:Reshape(x, newshape>shape)",
)
def reshape(call: Call, x: Operand, shape: Operand) -> Tensor:
    """Give another shape to the numbers in Keras' order."""
    return reshaped(call, tensor(call, x), shape)


def reshaped(call: Call, x: Tensor, shape: Operand) -> Tensor:
    """See `reshape`; sizes that nothing is known of are computed when the network runs."""
    wanted = _resolved(call, x, items_of(call, "shape", shape))
    sizes = sizes_of(x).tolist()
    keep = [
        item is not None and at < len(sizes) and item == sizes[at] for at, item in enumerate(wanted)
    ]
    free = [at for at, item in enumerate(wanted) if not isinstance(item, int) and not keep[at]]
    if len(free) + wanted.count(-1) <= 1:
        numbers = [
            item if isinstance(item, int) else 0 if keep[at] else -1
            for at, item in enumerate(wanted)
        ]
        target = call.ints("target", numbers)
    else:
        target = vector(call, "target", shape)
    value = call.op("Reshape", [call.source(x), target], role="reshaped")
    known = [None if item == -1 else item for item in wanted]
    if value.shape is not None and len(value.shape) == len(known):
        # What inference knows besides: the size that -1 stands for.
        inferred = sizes_of(Tensor(value, Layout.SOURCE)).tolist()
        known = [inferred[at] if item is None else item for at, item in enumerate(known)]
    return Tensor(shaped(value, known), Layout.SOURCE)


def _resolved(call: Call, x: Tensor, wanted: list[Item]) -> list[Item]:
    """Return the target with -1 computed where what is known is enough for it."""
    if any(isinstance(item, int) and item < -1 for item in wanted) or wanted.count(-1) > 1:
        raise call.unsupported("shape", wanted, "sizes, -1 at most once")
    sizes = sizes_of(x).tolist()
    if any(item == 0 for item in wanted):
        raise call.unsupported("shape", wanted, "no empty tensor")
    # A free size that stands on both sides cancels.
    left, right = list(sizes), [item for item in wanted if item != -1]
    for item in list(right):
        if isinstance(item, str) and item in left:
            left.remove(item)
            right.remove(item)
    if not all(isinstance(item, int) for item in [*left, *right]):
        return wanted
    count = math.prod(item for item in left if isinstance(item, int))
    known = math.prod(item for item in right if isinstance(item, int))
    if count % known if -1 in wanted else count != known:
        raise call.unsupported("shape", wanted, f"what holds the numbers of {sizes}")
    return [count // known if item == -1 else item for item in wanted]


@operation(
    "tf:expand_dims|expand_dims_v2(input|x>x, axis|dim>axis)",
    "node:ExpandDims(input>x, dim>axis)",
    "keras:ExpandDims(x, axis)",
)
def expand_dims(call: Call, x: Operand, axis: Operand) -> Tensor:
    """Insert axes of size 1."""
    x = tensor(call, x)
    found = integers(call, "axis", axis)
    grown = x.rank + len(found)
    if any(not -grown <= item < grown for item in found):
        raise call.unsupported("axis", found, f"axes of {grown}")
    return inserted(call, x, [item % grown for item in found])


@operation(
    "tf:squeeze|squeeze_v2(input|x>x, axis|squeeze_dims>axis=None)",
    "node:Squeeze(input>x, squeeze_dims>axis=None)",
    "keras:Squeeze(x, axis=None)",
)
def squeeze(call: Call, x: Operand, axis: Operand) -> Tensor:
    """Drop axes of size 1; all of them where none is named."""
    x = tensor(call, x)
    if axis is None or axis == []:
        if None in x.shape[1:]:
            raise call.unsupported("axis", axis, "axes by name where sizes are unknown")
        return squeezed(call, x, [at for at, item in enumerate(x.shape) if item == 1])
    return squeezed(call, x, axes_of(call, x, axis))


@operation(
    "tf:broadcast_to(input>x, shape)",
    "node:BroadcastTo(input>x, shape)",
    "keras:BroadcastTo(x, shape)",
)
def broadcast_to(call: Call, x: Operand, shape: Operand) -> Tensor:
    """Repeat axes of size 1 up to a shape."""
    x = tensor(call, x)
    items = items_of(call, "shape", shape)
    missing = len(items) - x.rank
    if missing < 0:
        raise call.unsupported("shape", items, f"{x.rank} axes or more")
    x = inserted(call, x, list(range(missing)))
    target = expanded_shape(call, x, items, shape)
    value = call.op("Expand", [x.value, target], role="broadcast")
    return Tensor(shaped(value, [items[axis] for axis in order_of(x)]), x.layout)


def expanded_shape(call: Call, x: Tensor, items: Sequence[Item], shape: Operand) -> ir.Value:
    """Return Expand's target as ``x`` is stored; a free size that ``x`` has itself is 1."""
    sizes = sizes_of(x).tolist()
    known = [
        item if isinstance(item, int) else 1 if item is not None and item == sizes[at] else None
        for at, item in enumerate(items)
    ]
    numbers = [item for item in known if item is not None]
    if len(numbers) == len(known):
        return call.ints("target", [numbers[axis] for axis in order_of(x)])
    return picked(call, "target", vector(call, "sizes", shape), order_of(x))


@operation(
    "tf:transpose|transpose_v2(a|x>x, perm=None, conjugate=False)",
    "node:Transpose(x, perm)",
    "keras:Transpose(x, axes>perm=None)",
)
def transpose(call: Call, x: Operand, perm: Operand, conjugate: object = None) -> Tensor:
    """Permute axes; none named: all in reverse."""
    x = tensor(call, x)
    order = axes_of(call, x, list(reversed(range(x.rank))) if perm is None else perm)
    if len(order) != x.rank:
        raise call.unsupported("perm", order, f"an order of {x.rank} axes")
    return permuted(call, x, order)


def permuted(call: Call, x: Tensor, order: Sequence[int]) -> Tensor:
    """Return ``x`` with its axes in another order: one transposition at most."""
    stored = [call.stored_axis(x, axis) for axis in order]
    if stored == list(range(x.rank)):
        return Tensor(x.value, Layout.SOURCE)
    value = call.op("Transpose", [x.value], role="transposed", perm=stored)
    return Tensor(value, Layout.SOURCE)


@operation("keras:Swapaxes(x, axis1, axis2)", "tf:experimental.numpy.swapaxes(a>x, axis1, axis2)")
def swapaxes(call: Call, x: Operand, axis1: Operand, axis2: Operand) -> Tensor:
    """Exchange two axes."""
    x = tensor(call, x)
    order = list(range(x.rank))
    first, second = axes_of(call, x, [integer(call, "axis", item) for item in (axis1, axis2)])
    order[first], order[second] = second, first
    return permuted(call, x, order)


@operation(
    "keras:Moveaxis(x, source, destination)",
    "tf:experimental.numpy.moveaxis(a>x, source, destination)",
)
def moveaxis(call: Call, x: Operand, source: Operand, destination: Operand) -> Tensor:
    """Move axes to other places."""
    x = tensor(call, x)
    moved, places = axes_of(call, x, source), axes_of(call, x, destination)
    order = [axis for axis in range(x.rank) if axis not in moved]
    for place, axis in sorted(zip(places, moved, strict=True)):
        order.insert(place, axis)
    return permuted(call, x, order)


@operation("tf:keras.backend.batch_flatten(x)")
def batch_flatten(call: Call, x: Operand) -> Tensor:
    """Make one axis of all but the first."""
    x = tensor(call, x)
    sizes = x.shape[1:]
    if None in sizes:
        raise call.unsupported("the input", x.shape, "known sizes")
    return reshaped(call, x, [-1, math.prod(size for size in sizes if size)])


@operation("keras:Ravel(x)")
def ravel(call: Call, x: Operand) -> Tensor:
    """Make one axis of all."""
    return reshaped(call, tensor(call, x), [-1])
