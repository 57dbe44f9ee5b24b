"""Axes: a result's order from what is left of the stored one, and sizes as ONNX vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.layers._tensor import channels_first_axes
from segrt.importers.operations._base import Operand
from segrt.importers.operations._values import INT, cast, contents

Item = int | str | None


def order_of(x: Tensor) -> list[int]:
    """Return which axis of Keras' order each stored axis is."""
    return list(channels_first_axes(x.rank) if x.to_source else range(x.rank))


def settle(call: Call, value: ir.Value, order: Sequence[int]) -> Tensor:
    """Return a tensor whose stored axes are these of Keras' order; transposed only if need be."""
    order = [sorted(order).index(axis) for axis in order]
    if order == list(range(len(order))):
        return Tensor(value, Layout.SOURCE)
    if len(order) > 2 and order == list(channels_first_axes(len(order))):
        return Tensor(value, Layout.CHANNELS_FIRST)
    axes = [int(i) for i in np.argsort(order)]
    return Tensor(call.op("Transpose", [value], role="ordered", perm=axes), Layout.SOURCE)


def squeezed(call: Call, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Return ``x`` without axes (of size 1) of Keras' order."""
    if not axes:
        return x
    stored = sorted(call.stored_axis(x, axis) for axis in axes)
    value = call.op("Squeeze", [x.value, call.ints("axes", stored)], role="squeezed")
    return settle(call, value, [axis for axis in order_of(x) if axis not in axes])


def inserted(call: Call, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Return ``x`` with new axes of size 1 where ``axes`` says in the result's order."""
    if not axes:
        return x
    rank = x.rank + len(axes)
    old = [axis for axis in range(rank) if axis not in axes]
    here = [old[axis] for axis in order_of(x)]
    first = list(channels_first_axes(rank)) if rank > 2 else []
    for order, layout in ((first, Layout.CHANNELS_FIRST), (list(range(rank)), Layout.SOURCE)):
        if order and [axis for axis in order if axis not in axes] == here:
            places = [place for place, axis in enumerate(order) if axis in axes]
            value = call.op("Unsqueeze", [x.value, call.ints("axes", places)], role="expanded")
            return Tensor(value, layout)
    value = call.op("Unsqueeze", [call.source(x), call.ints("axes", sorted(axes))], role="expanded")
    return Tensor(value, Layout.SOURCE)


def items_of(call: Call, name: str, x: Operand) -> list[Item]:
    """Return what is known of a vector of sizes; its length must be known.

    Raises:
        UnsupportedConfigError: It is no vector of integers.
    """
    if isinstance(x, dict):
        x = x.get("items", [])
    if isinstance(x, Tensor):
        known = contents(x)
        if known is not None:
            return [_item(item) for item in known.reshape(-1).tolist()]
        if x.rank > 1 or (x.rank and x.shape[0] is None):
            raise call.unsupported(name, f"a tensor of shape {x.shape}", "a vector of known length")
        return [None for _ in range(x.shape[0] or 0 if x.rank else 1)]
    if isinstance(x, list | tuple | np.ndarray):
        items = [items_of(call, name, item) for item in list(x)]
        return [item for part in items for item in part]
    if isinstance(x, bool) or not isinstance(x, int | float | np.integer) or int(x) != x:
        raise call.unsupported(name, x, "integers")
    return [int(x)]


def vector(call: Call, role: str, x: Operand) -> ir.Value:
    """Return a vector of sizes as an int64 value: a constant where all of them are known."""
    items = items_of(call, role, x)
    if all(isinstance(item, int) for item in items):
        return call.ints(role, [item for item in items if isinstance(item, int)])
    if isinstance(x, Tensor):
        value = call.source(cast(call, x, INT))
        if not x.rank:
            value = call.op("Unsqueeze", [value, call.ints("front", [0])], role=f"{role}_row")
        return value
    parts = [vector(call, role, item) for item in list(x)]
    return call.op("Concat", parts, role=role, axis=0)


def picked(call: Call, role: str, x: ir.Value, indices: Sequence[int]) -> ir.Value:
    """Return elements of a vector; in order and all of them is the vector itself."""
    constant = x.const_value
    if constant is not None:
        return call.ints(role, constant.numpy()[list(indices)].tolist())
    whole = x.shape is not None and x.shape[0] == len(indices)
    if whole and list(indices) == list(range(len(indices))):
        return x
    return call.op("Gather", [x, call.ints("indices", indices)], role=role, axis=0)


def shaped(value: ir.Value, sizes: Sequence[Item]) -> ir.Value:
    """Tell the sizes of a value where inference could not know them."""
    value.shape = ir.Shape(list(sizes))
    return value


def _item(item: object) -> Item:
    return int(item) if isinstance(item, int | float) else item if isinstance(item, str) else None
