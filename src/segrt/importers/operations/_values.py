"""Operands: tensors, numbers and arrays, their types, and what is known of their contents.

Integer tensors are INT64, whatever integer Keras had. Where sizes are computed from shapes, the
numbers are followed at import: an integer is known, a name stands for a free size that is the
same wherever the name is (``batch``), None is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from segrt.importers.layers._base import (
    Call,
    Layout,
    Tensor,
)
from segrt.importers.layers._tensor import channels_first_axes
from segrt.importers.operations._base import Array, Operand

FLOAT, INT, BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL
_FLOATS = ("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16")
_WIDE = ("INT32", "INT64", "UINT32", "UINT64")
_CONTENTS = "segrt.contents"
_NUMPY = {FLOAT: np.float32, INT: np.int64, BOOL: np.bool_}


def remember(tensor: Tensor, contents: Array | None) -> Tensor:
    """Note what is known of a small tensor's contents; returns the tensor."""
    if contents is not None:
        tensor.value.meta[_CONTENTS] = contents
    return tensor


def contents(x: Operand) -> Array | None:
    """Return what is known of an operand's contents: an array of objects, None if nothing is."""
    if isinstance(x, Tensor):
        if x.value.const_value is not None and x.value.const_value.size <= 64:
            return x.value.const_value.numpy().astype(object)
        known = x.value.meta.get(_CONTENTS)
        return known if isinstance(known, np.ndarray) else None
    if isinstance(x, list | tuple):
        parts = [contents(item) for item in x]
        if any(part is None for part in parts):
            return None
        return np.array([part.tolist() for part in parts if part is not None], dtype=object)
    return np.asarray(x, dtype=object)


def sizes_of(x: Tensor) -> Array:
    """Return what is known of a tensor's shape, in Keras' own order."""
    assert x.value.shape is not None
    stored = [s if isinstance(s, int) else s.value for s in x.value.shape]
    if x.layout is Layout.CHANNELS_FIRST:
        stored = [stored[0], *stored[2:], stored[1]]
    known = np.empty(len(stored), dtype=object)
    known[:] = stored
    return known


def kind(x: Operand) -> ir.DataType:
    """Return FLOAT, INT64 or BOOL: how an operand takes part in arithmetic."""
    if isinstance(x, Tensor):
        name = "FLOAT" if x.value.dtype is None else x.value.dtype.name
        return FLOAT if name in _FLOATS else BOOL if name == "BOOL" else INT
    if isinstance(x, list | tuple):
        return max((kind(item) for item in x), key=(BOOL, INT, FLOAT).index, default=FLOAT)
    array = np.asarray(x)
    return BOOL if array.dtype.kind == "b" else INT if array.dtype.kind in "iu" else FLOAT


def common_kind(call: Call, operands: Sequence[Operand]) -> ir.DataType:
    """Return the type to compute in.

    Raises:
        UnsupportedConfigError: Integers of 8 or 16 bits, whose overflow would be lost.
    """
    for x in operands:
        if isinstance(x, Tensor) and kind(x) is INT and x.value.dtype is not None:
            narrow = x.value.dtype.name not in _WIDE
            if narrow and all(kind(other) is not FLOAT for other in operands):
                raise call.unsupported("arithmetic", x.value.dtype.name, "float or int32")
    return max((kind(x) for x in operands), key=(BOOL, INT, FLOAT).index)


def cast(call: Call, x: Operand, wanted: ir.DataType) -> Tensor:
    """Return an operand as a tensor of a type; a constant becomes an initializer."""
    if not isinstance(x, Tensor):
        if isinstance(x, list | tuple) and _has_tensors(x):
            return stacked(call, x, wanted)
        array: Array = constant_array(call, x).astype(_NUMPY.get(wanted, np.float32))
        return Tensor(call.constant("constant", array), Layout.SOURCE)
    if x.value.dtype == wanted:
        return x
    value = call.op("Cast", [x.value], role="cast", to=int(wanted))
    return remember(Tensor(value, x.layout), contents(x))


def constant_array(call: Call, x: Operand) -> Array:
    """Return a constant operand as an array.

    Raises:
        UnsupportedConfigError: It is not made of numbers.
    """
    if isinstance(x, Mapping):
        x = x.get("items", x.get("config"))
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise call.unsupported("an operand", x, "a tensor or numbers") from error
    if array.dtype.kind not in "biuf":
        raise call.unsupported("an operand", x, "a tensor or numbers")
    return array


def tensor(call: Call, x: Operand) -> Tensor:
    """Return an operand as a tensor; halves and doubles as float32, integers as int64."""
    if isinstance(x, Tensor) and x.value.dtype is not None:
        narrow = kind(x) is INT and x.value.dtype.name not in _WIDE
        return x if narrow else cast(call, x, kind(x))
    return cast(call, x, kind(x))


def floats(call: Call, x: Operand) -> Tensor:
    """Return an operand as a float32 tensor."""
    return cast(call, x, FLOAT)


def tensors(call: Call, xs: Operand) -> list[Tensor]:
    """Return a list of operands as tensors of one type."""
    items = list(xs) if isinstance(xs, list | tuple) else [xs]
    if not items:
        raise call.unsupported("the inputs", "none", "one tensor or more")
    wanted = max((kind(x) for x in items), key=(BOOL, INT, FLOAT).index)
    return [cast(call, x, wanted) for x in items]


def stacked(call: Call, x: Sequence[Operand], wanted: ir.DataType) -> Tensor:
    """Return a list with tensors in it as one tensor, as TensorFlow packs it."""
    parts = [call.source(cast(call, item, wanted)) for item in x]
    axis = call.ints("front", [0])
    rows = [call.op("Unsqueeze", [part, axis], role="row") for part in parts]
    value = call.op("Concat", rows, role="packed", axis=0)
    return remember(Tensor(value, Layout.SOURCE), contents(x))


def aligned(
    call: Call,
    *operands: Operand,
    wanted: ir.DataType | Sequence[ir.DataType] | None = None,
) -> tuple[list[ir.Value], Layout]:
    """Return operands as values that broadcast like NumPy's, and the layout of the result.

    Args:
        call: The operation's call.
        operands: Tensors and constants.
        wanted: Their type, or one for each; None for the common one.
    """
    if wanted is None:
        wanted = common_kind(call, operands)
    types = [wanted] * len(operands) if isinstance(wanted, ir.DataType) else list(wanted)
    operands = tuple(
        cast(call, x, wanted) if isinstance(x, Tensor) or _has_tensors(x) else x
        for x, wanted in zip(operands, types, strict=True)
    )
    arrays: dict[int, Array] = {
        i: constant_array(call, x).astype(_NUMPY[types[i]])
        for i, x in enumerate(operands)
        if not isinstance(x, Tensor)
    }
    ranks = [x.rank if isinstance(x, Tensor) else arrays[i].ndim for i, x in enumerate(operands)]
    rank = max(ranks)
    first = rank > 2 and any(
        isinstance(x, Tensor) and x.layout is Layout.CHANNELS_FIRST and x.rank == rank
        for x in operands
    )
    layout = Layout.CHANNELS_FIRST if first else Layout.SOURCE
    values = []
    for i, x in enumerate(operands):
        if isinstance(x, Tensor):
            values.append(_raised(call, x, rank, layout))
        else:
            values.append(call.constant("operand", _stored(arrays[i], rank, layout)))
    return values, layout


def _stored(array: Array, rank: int, layout: Layout) -> Array:
    """Return a constant, given in Keras' order, as the tensors it meets are stored."""
    if layout is Layout.SOURCE or not array.ndim:
        return array
    full = array.reshape([1] * (rank - array.ndim) + list(array.shape))
    return full.transpose(channels_first_axes(rank))


def _raised(call: Call, x: Tensor, rank: int, layout: Layout) -> ir.Value:
    """Return a tensor brought to ``rank`` by axes in front, stored in ``layout``."""
    if x.rank == rank:
        return call.in_layout(x, layout)
    value = call.source(x)
    if layout is Layout.SOURCE or not x.rank:
        return value
    if x.rank == 1:
        axes = [0, *range(2, rank)]
        return call.op("Unsqueeze", [value, call.ints("axes", axes)], role="raised")
    axes = list(range(rank - x.rank))
    value = call.op("Unsqueeze", [value, call.ints("axes", axes)], role="raised")
    return call.in_layout(Tensor(value, Layout.SOURCE), layout)


def _has_tensors(x: Operand) -> bool:
    if isinstance(x, list | tuple):
        return any(_has_tensors(item) for item in x)
    return isinstance(x, Tensor)


def number(call: Call, name: str, x: Operand) -> float:
    """Return one known number.

    Raises:
        UnsupportedConfigError: It is none, or is computed when the network runs.
    """
    known = contents(x) if x is not None and not isinstance(x, str) else None
    if known is None or known.size != 1 or not isinstance(known.item(), int | float):
        raise call.unsupported(name, _shown(x), "a number")
    return float(known.item())


def integer(call: Call, name: str, x: Operand) -> int:
    """Return one known integer."""
    value = number(call, name, x)
    if not value.is_integer():
        raise call.unsupported(name, value, "an integer")
    return int(value)


def integers(call: Call, name: str, x: Operand) -> list[int]:
    """Return known integers from one or a list of them."""
    known = contents(x) if x is not None and not isinstance(x, str) else None
    items: list[Any] = [] if known is None else known.reshape(-1).tolist()
    if known is None or any(not isinstance(i, int | float) or int(i) != i for i in items):
        raise call.unsupported(name, _shown(x), "integers")
    return [int(item) for item in items]


def axis_of(call: Call, x: Tensor, axis: Operand) -> int:
    """Return one axis of Keras' order, counted from 0."""
    found = integer(call, "axis", axis)
    if not -x.rank <= found < x.rank:
        raise call.unsupported("axis", found, f"an axis of the {x.rank}-dimensional input")
    return found % x.rank


def axes_of(call: Call, x: Tensor, axis: Operand) -> list[int]:
    """Return axes of Keras' order, counted from 0; None stands for all."""
    if axis is None:
        return list(range(x.rank))
    found = [axis_of(call, x, item) for item in integers(call, "axis", axis)]
    if len(set(found)) != len(found):
        raise call.unsupported("axis", axis, "axes that differ")
    return found


def _shown(x: Operand) -> str:
    return "computed when the network runs" if isinstance(x, Tensor) else repr(x)[:80]
