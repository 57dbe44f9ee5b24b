"""Casts and copies, constants shaped like a tensor, ranges and one-hot codes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.operations._axes import inserted, items_of, shaped, vector
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import (
    BOOL,
    FLOAT,
    INT,
    aligned,
    cast,
    contents,
    integer,
    kind,
    number,
    remember,
    sizes_of,
    tensor,
    tensors,
)

_WIDE_INTEGERS = ("int32", "int64", "uint32", "uint64")
_NARROW = {"uint8": "UINT8", "int8": "INT8", "uint16": "UINT16", "int16": "INT16"}


def type_of(call: Call, dtype: Operand) -> ir.DataType:
    """Return the type a name stands for; halves and doubles are float32 here.

    Raises:
        UnsupportedConfigError: No such type, or complex numbers or text.
    """
    if isinstance(dtype, dict):  # a serialised type
        dtype = dtype.get("config", dtype.get("value"))
        dtype = dtype.get("name", dtype.get("value")) if isinstance(dtype, dict) else dtype
    name = str(dtype).removeprefix("tf.").removesuffix("_ref")
    if name in ("float16", "bfloat16", "float32", "float64", "half"):
        return FLOAT
    if name == "bool":
        return BOOL
    if name in _WIDE_INTEGERS:
        return INT
    if name in _NARROW:
        return ir.DataType[_NARROW[name]]
    raise call.unsupported("dtype", dtype, "a type of numbers")


@operation(
    "tf:cast|keras.backend.cast(x, dtype)",
    "node:Cast(x, DstT>dtype)",
    "keras:Cast(x, dtype)",
)
def cast_to(call: Call, x: Operand, dtype: Operand) -> Tensor:
    """Change the type; fractions are cut off towards 0."""
    wanted = type_of(call, dtype)
    if str(dtype) in ("float16", "bfloat16"):
        call.remark(f"cast to {dtype} when saved; imported as float32")
    known = contents(x)
    result = cast(call, x, wanted)
    if known is not None and wanted in (INT, FLOAT):
        turn = int if wanted is INT else float
        numbers = [turn(item) if isinstance(item, int | float) else item for item in known.flat]
        changed = np.empty(known.shape, dtype=object)
        changed.reshape(-1)[:] = numbers
        return remember(result, changed)
    return result


@operation(
    "tf:identity|stop_gradient|ensure_shape|convert_to_tensor|grad_pass_through"
    "|debugging.check_numerics|keras.backend.identity(input|tensor|x|value>x, shape=None, "
    "dtype=None, dtype_hint=None, message=None)",
    "node:Identity|StopGradient|PreventGradient|Snapshot|EnsureShape|CheckNumerics"
    "|PlaceholderWithDefault(input|tensor>x, shape=None, message=None)",
    "keras:StopGradient|ConvertToTensor|Copy|Array(variable|x>x, dtype=None, copy=None)",
)
def identity(call: Call, x: Operand, dtype: Operand = None, **_: object) -> Tensor:
    """Change nothing at inference."""
    same = tensor(call, x)
    if dtype is None:
        return same
    result: Tensor = cast_to(call, same, dtype)
    return result


@operation("tf:identity_n(input>xs)", "node:IdentityN(*input>xs)")
def identity_n(call: Call, xs: list[Operand]) -> list[Tensor]:
    """Change nothing; TensorFlow gives functions gradients of their own by it."""
    return [tensor(call, x) for x in xs]


def filled(call: Call, x: Tensor, number: float, wanted: ir.DataType) -> Tensor:
    """Return one number shaped like ``x``."""
    one = cast(call, number, wanted)
    target = call.op("Shape", [x.value], role="shape")
    value = call.op("Expand", [one.value, target], role="filled")
    value.shape = x.value.shape
    return Tensor(value, x.layout)


@operation(
    "tf:zeros_like|zeros_like_v2(input|tensor>x, dtype=None)",
    "node:ZerosLike(x)",
    "keras:ZerosLike|EmptyLike(x, dtype=None)",
)
def zeros_like(call: Call, x: Operand, dtype: Operand = None) -> Tensor:
    """Zeros shaped like a tensor."""
    return full_like(call, x, 0, dtype)


@operation(
    "tf:ones_like|ones_like_v2(input|tensor>x, dtype=None)",
    "node:OnesLike(x)",
    "keras:OnesLike(x, dtype=None)",
)
def ones_like(call: Call, x: Operand, dtype: Operand = None) -> Tensor:
    """Ones shaped like a tensor."""
    return full_like(call, x, 1, dtype)


@operation("keras:FullLike(x, fill_value>fill, dtype=None)")
def full_like(call: Call, x: Operand, fill: Operand, dtype: Operand = None) -> Tensor:
    """One number shaped like a tensor."""
    x = tensor(call, x)
    wanted = kind(x) if dtype is None else type_of(call, dtype)
    return filled(call, x, number(call, "fill_value", fill), wanted)


@operation("tf:fill(dims, value)", "node:Fill(dims, value)")
def fill(call: Call, dims: Operand, value: Operand) -> Tensor:
    """One number in a given shape."""
    items = items_of(call, "dims", dims)
    one = tensor(call, value)
    expanded = call.op("Expand", [one.value, vector(call, "dims", dims)], role="filled")
    return Tensor(shaped(expanded, items), Layout.SOURCE)


@operation("tf:zeros(shape, dtype='float32')")
def zeros(call: Call, shape: Operand, dtype: Operand) -> Tensor:
    """Zeros in a given shape."""
    return fill(call, shape, cast(call, 0, type_of(call, dtype)))


@operation("tf:ones(shape, dtype='float32')")
def ones(call: Call, shape: Operand, dtype: Operand) -> Tensor:
    """Ones in a given shape."""
    return fill(call, shape, cast(call, 1, type_of(call, dtype)))


@operation(
    "tf:range(start|limit>start, limit|_limit>stop=None, delta>step=1, dtype=None)",
    "node:Range(start, limit>stop, delta>step)",
    "keras:Arange(start, stop=None, step=None, dtype=None)",
)
def arange(
    call: Call, start: Operand, stop: Operand, step: Operand, dtype: Operand = None
) -> Tensor:
    """Numbers from a start up to an end, which is left out."""
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    values, _ = aligned(call, start, stop, step)
    known = [contents(item) for item in (start, stop, step)]
    result = Tensor(call.op("Range", values, role="range"), Layout.SOURCE)
    if all(item is not None and isinstance(item.item(), int | float) for item in known):
        numbers = np.arange(*(item.item() for item in known if item is not None))
        shaped(result.value, [len(numbers)])
        if len(numbers) <= 64:
            remember(result, numbers.astype(object))
    else:
        shaped(result.value, [None])
    return result if dtype is None else cast(call, result, type_of(call, dtype))


@operation(
    "tf:one_hot(indices, depth, on_value=None, off_value=None, axis=None, dtype=None)",
    "node:OneHot(indices, depth, on_value, off_value, axis=-1)",
    "keras:OneHot(x|indices>indices, num_classes>depth, axis=-1, dtype=None)",
)
def one_hot(
    call: Call,
    indices: Operand,
    depth: Operand,
    on_value: Operand = None,
    off_value: Operand = None,
    axis: Operand = None,
    dtype: Operand = None,
) -> Tensor:
    """1 where the new axis' number is the index, else 0."""
    x = cast(call, indices, INT)
    rank = x.rank + 1
    at = (-1 if axis is None else integer(call, "axis", axis)) % rank
    row = inserted(call, x, [at])
    numbers = np.arange(integer(call, "depth", depth)).reshape([-1] + [1] * (rank - 1 - at))
    values, layout = aligned(call, row, numbers)
    equal = call.op("Equal", values, role="equal")
    on = 1.0 if on_value is None else number(call, "on_value", on_value)
    off = 0.0 if off_value is None else number(call, "off_value", off_value)
    wanted = FLOAT if dtype is None else type_of(call, dtype)
    if (on, off) == (1.0, 0.0):
        return cast(call, Tensor(equal, layout), wanted)
    ends = [call.scalar("on", on), call.scalar("off", off)]
    return cast(call, Tensor(call.op("Where", [equal, *ends], role="code"), layout), wanted)


@operation("tf:meshgrid(*args>xs)")
def meshgrid_without_vectors(call: Call, xs: list[Operand]) -> list[Tensor]:
    """Refuse: TFOpLambda saves only the first of several unnamed arguments."""
    raise call.unsupported("tf.meshgrid", "one vector", "all vectors, which Keras 2 did not save")


@operation("keras:Meshgrid(*x>xs, indexing='xy')")
def meshgrid(call: Call, xs: list[Operand], indexing: str) -> list[Tensor]:
    """Grids of coordinates from vectors."""
    rows = tensors(call, xs)
    places = list(range(len(rows)))
    if indexing == "xy" and len(rows) > 1:
        places[:2] = [1, 0]
    raised = []
    for row, place in zip(rows, places, strict=True):
        axes = [axis for axis in range(len(rows)) if axis != place]
        value = call.op("Unsqueeze", [call.source(row), call.ints("axes", axes)], role="raised")
        raised.append(value)
    lengths = [call.op("Shape", [call.source(row)], role="length") for row in rows]
    ordered = [lengths[places.index(axis)] for axis in range(len(rows))]
    target = call.op("Concat", ordered, role="target", axis=0)
    sizes = [sizes_of(rows[places.index(axis)])[0] for axis in range(len(rows))]
    grids = [call.op("Expand", [value, target], role="grid") for value in raised]
    return [Tensor(shaped(grid, sizes), Layout.SOURCE) for grid in grids]


@operation(
    "tf:linspace(start, stop, num, axis=0)",
    "keras:Linspace(start, stop, num=50, endpoint=True)",
)
def linspace(
    call: Call, start: Operand, stop: Operand, num: Operand, axis: int = 0, endpoint: bool = True
) -> Tensor:
    """Evenly spaced numbers from one to another."""
    count = integer(call, "num", num)
    first, last = number(call, "start", start), number(call, "stop", stop)
    numbers = np.linspace(first, last, count, endpoint=bool(endpoint), dtype=np.float32)
    return Tensor(call.constant("numbers", numbers), Layout.SOURCE)


@operation("keras:Tril(x, k=0)", "tf:experimental.numpy.tril(m>x, k=0)")
def tril(call: Call, x: Operand, k: Operand) -> Tensor:
    """The lower triangle of the last two axes, 0 above."""
    return _triangle(call, tensor(call, x), integer(call, "k", k), upper=0)


@operation("keras:Triu(x, k=0)", "tf:experimental.numpy.triu(m>x, k=0)")
def triu(call: Call, x: Operand, k: Operand) -> Tensor:
    """The upper triangle of the last two axes, 0 below."""
    return _triangle(call, tensor(call, x), integer(call, "k", k), upper=1)


def _triangle(call: Call, x: Tensor, k: int, upper: int) -> Tensor:
    diagonal = call.constant("k", np.int64(k))
    return Tensor(call.op("Trilu", [call.source(x), diagonal], upper=upper), Layout.SOURCE)
