"""Reductions over axes, and the place of the largest."""

from __future__ import annotations

import numpy as np

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.operations._axes import order_of, settle
from segrt.importers.operations._base import Array, Operand, operation
from segrt.importers.operations._values import (
    BOOL,
    FLOAT,
    INT,
    axes_of,
    axis_of,
    cast,
    constant_array,
    contents,
    floats,
    integer,
    kind,
    remember,
    tensor,
)
from segrt.importers.operations.arithmetic import binary, square

_TF = "(input_tensor|x>x, axis|reduction_indices>axis=None, keepdims|keep_dims>keepdims=False)"
_NODE = "(input>x, reduction_indices>axis, keep_dims>keepdims=False)"
_KERAS = "(x, axis=None, keepdims=False, initial=None)"


def reduced(call: Call, op_type: str, x: Tensor, axis: Operand, keepdims: bool) -> Tensor:
    """Append one ONNX reduction over axes of Keras' order."""
    axes = axes_of(call, x, axis)
    if not axes:
        return x
    stored = sorted(call.stored_axis(x, item) for item in axes)
    value = call.op(
        op_type,
        [x.value, call.ints("axes", stored)],
        role=op_type.lower(),
        keepdims=int(bool(keepdims)),
    )
    if keepdims:
        return Tensor(value, x.layout)
    return settle(call, value, [item for item in order_of(x) if item not in axes])


def _register(op_type: str, *spellings: str) -> None:
    def apply(
        call: Call, x: Operand, axis: Operand, keepdims: bool, initial: Operand = None
    ) -> Tensor:
        if initial is not None:
            raise call.unsupported("initial", initial, "none")
        # What only floats have an answer for; Keras counts truth values as numbers.
        wanted = FLOAT if op_type in _FLOAT_ONLY else None
        x = cast(call, x, wanted) if wanted else tensor(call, x)
        x = cast(call, x, INT) if kind(x) is BOOL else x
        result = reduced(call, op_type, x, axis, keepdims)
        known = contents(x)
        if op_type == "ReduceProd" and known is not None and x.rank == 1:
            return remember(result, _product(known.tolist(), keepdims))
        return result

    operation(*spellings)(apply)


_FLOAT_ONLY = ("ReduceMean", "ReduceLogSumExp")
for _op, _name, _node, _keras in (
    ("ReduceMean", "mean", "Mean", "Mean"),
    ("ReduceSum", "sum", "Sum", "Sum"),
    ("ReduceMax", "max", "Max", "Max|Amax"),
    ("ReduceMin", "min", "Min", "Min|Amin"),
    ("ReduceProd", "prod", "Prod", "Prod"),
):
    _register(
        _op,
        f"tf:math.reduce_{_name}|reduce_{_name}{_TF}",
        f"node:{_node}{_NODE}",
        f"keras:{_keras}{_KERAS}",
    )
_register(
    "ReduceLogSumExp", f"tf:math.reduce_logsumexp|reduce_logsumexp{_TF}", f"keras:Logsumexp{_KERAS}"
)


def _product(items: list[object], keepdims: bool) -> Array:
    total: object = 1
    for item in items:
        total = total * item if isinstance(total, int) and isinstance(item, int) else None
    known = np.empty((1,) if keepdims else (), dtype=object)
    known[...] = total
    return known


@operation(f"tf:math.reduce_all|reduce_all{_TF}", f"node:All{_NODE}", f"keras:All{_KERAS}")
def reduce_all(
    call: Call, x: Operand, axis: Operand, keepdims: bool, initial: object = None
) -> Tensor:
    """Say where all along the axes are true."""
    return _truth(call, "ReduceMin", x, axis, keepdims)


@operation(f"tf:math.reduce_any|reduce_any{_TF}", f"node:Any{_NODE}", f"keras:Any{_KERAS}")
def reduce_any(
    call: Call, x: Operand, axis: Operand, keepdims: bool, initial: object = None
) -> Tensor:
    """Say where any along the axes is true."""
    return _truth(call, "ReduceMax", x, axis, keepdims)


def _truth(call: Call, op_type: str, x: Operand, axis: Operand, keepdims: bool) -> Tensor:
    numbers = cast(call, cast(call, x, BOOL), FLOAT)
    return cast(call, reduced(call, op_type, numbers, axis, keepdims), BOOL)


@operation(f"tf:math.reduce_variance{_TF}", f"keras:Var{_KERAS}")
def variance(
    call: Call, x: Operand, axis: Operand, keepdims: bool, initial: object = None
) -> Tensor:
    """Mean of the squared distances from the mean."""
    x = floats(call, x)
    center = reduced(call, "ReduceMean", x, axis, True)
    squares = square(call, binary(call, "Sub", x, center))
    return reduced(call, "ReduceMean", squares, axis, keepdims)


@operation(f"tf:math.reduce_std{_TF}", f"keras:Std{_KERAS}")
def deviation(
    call: Call, x: Operand, axis: Operand, keepdims: bool, initial: object = None
) -> Tensor:
    """Root of the variance."""
    inner = variance(call, x, axis, keepdims)
    return Tensor(call.op("Sqrt", [inner.value]), inner.layout)


@operation(
    "tf:nn.moments(x, axes>axis, shift=None, keepdims|keep_dims>keepdims=False)",
    "keras:Moments(x, axes>axis, keepdims=False)",
)
def moments(
    call: Call, x: Operand, axis: Operand, keepdims: bool, shift: object = None
) -> list[Tensor]:
    """Mean and variance."""
    x = floats(call, x)
    return [reduced(call, "ReduceMean", x, axis, keepdims), variance(call, x, axis, keepdims)]


@operation("keras:Ptp(x, axis=None, keepdims=False)")
def spread(call: Call, x: Operand, axis: Operand, keepdims: bool) -> Tensor:
    """Largest less smallest."""
    x = tensor(call, x)
    largest = reduced(call, "ReduceMax", x, axis, keepdims)
    return binary(call, "Sub", largest, reduced(call, "ReduceMin", x, axis, keepdims))


@operation("keras:Average(x, weights=None, axis=None)")
def average(call: Call, x: Operand, weights: Operand, axis: Operand) -> Tensor:
    """Weighted mean along an axis."""
    x = floats(call, x)
    if weights is None:
        return reduced(call, "ReduceMean", x, axis, False)
    shape = weights.shape if isinstance(weights, Tensor) else constant_array(call, weights).shape
    if len(shape) == 1 and axis is not None and not isinstance(weights, Tensor):
        shares = constant_array(call, weights).astype("float32")
        full = [1] * x.rank
        full[axis_of(call, x, axis)] = shares.size
        product = binary(call, "Mul", x, (shares / shares.sum()).reshape(full))
        return reduced(call, "ReduceSum", product, axis, False)
    raise call.unsupported("weights", shape, "one constant weight along the axis")


@operation(
    "tf:math.count_nonzero(input|input_tensor>x, axis=None, keepdims=False)",
    "keras:CountNonzero(x, axis=None)",
)
def count_nonzero(call: Call, x: Operand, axis: Operand, keepdims: bool = False) -> Tensor:
    """Count what is not 0."""
    ones = cast(call, cast(call, x, BOOL), INT)
    return reduced(call, "ReduceSum", ones, axis, keepdims)


@operation(
    "tf:math.argmax|argmax(input>x, axis|dimension>axis=None, output_type=None)",
    "node:ArgMax(input>x, dimension>axis, output_type=None)",
    "keras:Argmax(x, axis=None, keepdims=False)",
)
def argmax(
    call: Call, x: Operand, axis: Operand, keepdims: bool = False, output_type: object = None
) -> Tensor:
    """Return where the largest lies; the first of equals."""
    return _place(call, "ArgMax", x, axis, keepdims)


@operation(
    "tf:math.argmin|argmin(input>x, axis|dimension>axis=None, output_type=None)",
    "node:ArgMin(input>x, dimension>axis, output_type=None)",
    "keras:Argmin(x, axis=None, keepdims=False)",
)
def argmin(
    call: Call, x: Operand, axis: Operand, keepdims: bool = False, output_type: object = None
) -> Tensor:
    """Return where the smallest lies; the first of equals."""
    return _place(call, "ArgMin", x, axis, keepdims)


def _place(call: Call, op_type: str, x: Operand, axis: Operand, keepdims: bool) -> Tensor:
    x = floats(call, x) if kind(x) is not INT else tensor(call, x)
    if axis is None and call.class_name.startswith("keras.ops"):
        flat = call.op("Reshape", [call.source(x), call.ints("flat", [-1])], role="flat")
        x, axis = Tensor(flat, Layout.SOURCE), 0
        if keepdims:
            raise call.unsupported("keepdims", True, "an axis with it")
    at = axis_of(call, x, 0 if axis is None else axis)
    value = call.op(
        op_type,
        [x.value],
        role="place",
        axis=call.stored_axis(x, at),
        keepdims=int(bool(keepdims)),
    )
    if keepdims:
        return Tensor(value, x.layout)
    return settle(call, value, [item for item in order_of(x) if item != at])


@operation(
    "tf:math.cumsum|cumsum(x, axis=0, exclusive=False, reverse=False)",
    "node:Cumsum(x, axis, exclusive=False, reverse=False)",
    "keras:Cumsum(x, axis=None)",
)
def cumsum(
    call: Call, x: Operand, axis: Operand, exclusive: bool = False, reverse: bool = False
) -> Tensor:
    """Running sum along an axis."""
    x = tensor(call, x)
    if axis is None:
        flat = call.op("Reshape", [call.source(x), call.ints("flat", [-1])], role="flat")
        x, axis = Tensor(flat, Layout.SOURCE), 0
    at = call.constant("axis", np.int64(call.stored_axis(x, axis_of(call, x, axis))))
    value = call.op(
        "CumSum", [x.value, at], exclusive=int(bool(exclusive)), reverse=int(bool(reverse))
    )
    return Tensor(value, x.layout)


@operation(
    "tf:math.top_k|nn.top_k(input>x, k=1, sorted=True)",
    "node:TopKV2|TopK(input>x, k, sorted=True)",
    "keras:TopK(x, k, sorted=True)",
)
def top_k(call: Call, x: Operand, k: Operand, sorted: bool) -> list[Tensor]:  # noqa: A002
    """The largest along the last axis, and where they lie."""
    x = tensor(call, x)
    values = call.ops(
        "TopK",
        [x.value, call.ints("k", [integer(call, "k", k)])],
        outputs=2,
        role="top",
        axis=call.stored_axis(x, x.rank - 1),
        sorted=1,
    )
    return [Tensor(value, x.layout) for value in values]
