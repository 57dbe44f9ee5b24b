"""Layers that combine tensors: Concatenate, and element by element Add, Multiply and so on.

Tensors of different rank are brought to the largest rank as Keras does it: axes of size 1 are
inserted behind the batch axis, so (N, C) meets (N, H, W, C) as (N, 1, 1, C).
"""

from __future__ import annotations

import onnx_ir as ir

from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, keras_layer
from segrt.importers.layers._inputs import common_layout, identity, several, wrong_input


@keras_layer("Concatenate")
def concatenate(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert Concatenate to Concat along the same axis of the stored tensors."""
    tensors = several(call, xs)
    if len({x.rank for x in tensors}) != 1:
        raise wrong_input(call, f"shapes {[x.shape for x in tensors]}", "one number of axes")
    layout = common_layout(tensors)
    values = [call.in_layout(x, layout) for x in tensors]
    first = Tensor(values[0], layout)
    axis = call.stored_axis(first, _config.axis(call))
    _check_sizes(call, tensors, skip=_config.axis(call) % first.rank, broadcast=False)
    return Tensor(call.op("Concat", values, role="concat", axis=axis), layout)


@keras_layer("Add")
def add(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert Add to a chain of Add."""
    return _chain(call, xs, "Add")


@keras_layer("Multiply")
def multiply(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert Multiply to a chain of Mul."""
    return _chain(call, xs, "Mul")


@keras_layer("Subtract")
def subtract(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert Subtract, which takes two tensors, to Sub."""
    return _chain(call, several(call, xs, exactly=2), "Sub")


@keras_layer("Maximum")
def maximum(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert Maximum to a chain of Max."""
    return _chain(call, xs, "Max")


@keras_layer("Minimum")
def minimum(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert Minimum to a chain of Min."""
    return _chain(call, xs, "Min")


@keras_layer("Average")
def average(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert Average to a chain of Add and a Div."""
    total = _chain(call, xs, "Add")
    count = call.scalar("count", float(len(several(call, xs))))
    return Tensor(call.op("Div", [total.value, count], role="average"), total.layout)


def _chain(call: Call, xs: list[Tensor], op_type: str) -> Tensor:
    """Combine from left to right, the order in which Keras rounds."""
    tensors = several(call, xs)
    rank = max(x.rank for x in tensors)
    layout = common_layout(tensors)
    _check_sizes(call, tensors, skip=None, broadcast=True)
    values = [_expand(call, x, rank, layout) for x in tensors]
    if len(values) == 1:
        return identity(call, Tensor(values[0], layout))
    result = values[0]
    for value in values[1:]:
        result = call.op(op_type, [result, value], role=op_type.lower())
    return Tensor(result, layout)


def _expand(call: Call, x: Tensor, rank: int, layout: Layout) -> ir.Value:
    missing = rank - x.rank
    if not missing:
        return call.in_layout(x, layout)
    if layout is Layout.SOURCE or x.rank < 2:
        axes = range(1, 1 + missing)
        value = call.source(x)
    else:
        # N C spatial...: Keras' new axes come before the old spatial ones.
        axes = range(2, 2 + missing)
        value = call.in_layout(x, layout)
    return call.op("Unsqueeze", [value, call.ints("axes", list(axes))], role="expanded")


def _check_sizes(call: Call, xs: list[Tensor], *, skip: int | None, broadcast: bool) -> None:
    """Raise where two known sizes of an axis differ (and none is 1, if that broadcasts)."""
    rank = max(x.rank for x in xs)
    shapes = [(x.shape[0], *[1] * (rank - x.rank), *x.shape[1:]) for x in xs]
    for axis, sizes in enumerate(zip(*shapes, strict=True)):
        known = {size for size in sizes if size is not None and not (broadcast and size == 1)}
        if len(known) > 1 and axis != skip:
            raise wrong_input(call, f"shapes {[x.shape for x in xs]}", "sizes that fit together")
