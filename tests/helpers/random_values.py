"""Rules by which random graphs get operators on values of any rank."""

from __future__ import annotations

import math

import numpy as np

from helpers.random_graphs import FAR, Draw, rule

_ACTIVATIONS: dict[str, dict[str, float]] = {
    "Relu": {}, "LeakyRelu": {"alpha": 0.2}, "Elu": {"alpha": 0.7}, "Selu": {}, "Sigmoid": {},
    "HardSigmoid": {"alpha": 0.3}, "HardSwish": {}, "Tanh": {}, "Softplus": {}, "Softsign": {},
    "Erf": {}, "Exp": {}, "Abs": {}, "Neg": {}, "Mish": {}, "Identity": {}, "Dropout": {},
    "Cos": {}, "Atan": {},
}  # fmt: skip
_REDUCTIONS = (
    "ReduceMean", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1",
    "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp",
)  # fmt: skip
_LAST, _FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


@rule
def part(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    axis = d.whole(0, len(d.shape(x)) - 1)
    size = d.shape(x)[axis]
    start, end, step = d.one_of(
        (
            (0, size, 1),
            (1, 2**31 - 1, 1),
            (-2, 2**62, 1),
            (0, -1, 1),
            (0, size, 2),
            (-1, -(2**31), -1),
        )
    )
    return d.add("Slice", [x, d.ints(start), d.ints(end), d.ints(axis), d.ints(step)])


@rule
def gather(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    axis = d.whole(0, len(d.shape(x)) - 1)
    size = d.shape(x)[axis]
    places = np.asarray(d.random.integers(-size, size, d.one_of(((), (3,), (2, 2)))), np.int64)
    return d.add("Gather", [x, d.constant(places)], axis=axis)


@rule
def concatenation(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    shape = d.shape(x)
    axis = min(1, len(shape) - 1) if d.chance(0.6) else d.whole(0, len(shape) - 1)
    rest = shape[:axis] + shape[axis + 1 :]
    fits = [
        name
        for name, array in d.values.items()
        if array.dtype == np.float32
        and array.ndim == len(shape)
        and array.shape[:axis] + array.shape[axis + 1 :] == rest
    ]
    return d.add("Concat", [x, *(d.one_of(fits) for _ in range(d.whole(1, 2)))], axis=axis)


@rule
def split(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    axis = d.whole(min(1, len(d.shape(x)) - 1), len(d.shape(x)) - 1)
    size = d.shape(x)[axis]
    if size < 2:
        return None
    first = d.whole(1, size - 1)
    return d.add("Split", [x, d.ints(first, size - first)], outputs=2, axis=axis)


@rule
def transpose(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    rank = len(d.shape(x))
    common = rank == 4 and d.chance(0.7)
    perm = d.one_of((_LAST, _FIRST)) if common else d.random.permutation(rank).tolist()
    return d.add("Transpose", [x], perm=perm)


@rule
def there_and_back(d: Draw) -> str | None:
    if (x := d.pick(4)) is None or (y := d.add("Transpose", [x], perm=_LAST)) is None:
        return None
    for _ in range(d.whole(0, 2)):
        y = d.one_of((_activated, _biased, _normed))(d, y) or y
    return d.add("Transpose", [y], perm=_FIRST)


def _activated(d: Draw, x: str) -> str | None:
    kind = d.one_of(list(_ACTIVATIONS))
    # ONNX Runtime's sigmoid is cut off.
    if kind == "Sigmoid" and d.array(x).min() < -15:
        return None
    return d.add(kind, [x], **_ACTIVATIONS[kind])


def _biased(d: Draw, x: str) -> str | None:
    return d.add("Add", [x, d.constant(d.numbers(d.shape(x)[-1]))])


def _normed(d: Draw, x: str) -> str | None:
    return d.add("ReduceMax", [x, d.ints(d.whole(1, 3))], keepdims=1)


@rule
def activation(d: Draw) -> str | None:
    return None if (x := d.pick()) is None else _activated(d, x)


@rule
def slope(d: Draw) -> str | None:
    if (x := d.pick(2, 3, 4)) is None:
        return None
    shape = d.shape(x)
    shapes = ((1,), shape[1:], (shape[1], *[1] * (len(shape) - 2)))
    return d.add("PRelu", [x, d.constant(d.numbers(*d.one_of(shapes)))])


@rule
def swish(d: Draw) -> str | None:
    x = d.pick()
    y = None if x is None else d.add("Sigmoid", [x])
    return None if x is None or y is None else d.add("Mul", [x, y] if d.chance(0.5) else [y, x])


@rule
def reshape(d: Draw) -> str | None:
    if (x := d.pick(3, 4)) is None:
        return None
    n, c, *rest = d.shape(x)
    target = d.one_of(([n, -1], [0, c, -1], [n, c, math.prod(rest)], [-1, *rest], [n, *rest, c]))
    return d.add("Reshape", [x, d.ints(*target)])


@rule
def one_more_axis(d: Draw) -> str | None:
    if (x := d.pick(2, 3, 4)) is None:
        return None
    ones = [axis for axis, size in enumerate(d.shape(x)) if size == 1]
    if ones and d.chance(0.6):
        return d.add("Squeeze", [x, d.ints(d.one_of(ones))])
    return d.add("Unsqueeze", [x, d.ints(d.whole(0, len(d.shape(x))))])


@rule
def repetition(d: Draw) -> str | None:
    if (x := d.pick(3, 4)) is None:
        return None
    if d.chance(0.5):
        return d.add("Tile", [x, d.ints(*[d.one_of((1, 1, 2)) for _ in d.shape(x)])])
    return d.add("Expand", [x, d.ints(*[3 if size == 1 else 1 for size in d.shape(x)])])


@rule
def reduction(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    rank = len(d.shape(x))
    axes = [2, 3] if rank == 4 and d.chance(0.5) else [d.whole(-rank, rank - 1)]
    return d.add(d.one_of(_REDUCTIONS), [x, d.ints(*axes)], keepdims=d.whole(0, 1))


@rule
def arithmetic(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    shape = d.shape(x)
    shapes = (
        (),
        (1,),
        shape,
        shape[-1:],
        [1] * len(shape),
        [size if d.chance(0.5) else 1 for size in shape],
    )
    y = d.constant(d.numbers(*d.one_of(shapes)))
    same = [
        name
        for name, array in d.values.items()
        if array.dtype == np.float32 and array.shape == shape
    ]
    if d.chance(0.4):
        y = d.one_of(same)
    return d.add(
        d.one_of(("Add", "Add", "Mul", "Mul", "Sub", "Max", "Min")),
        [x, y] if d.chance(0.7) else [y, x],
    )


@rule
def choice(d: Draw) -> str | None:
    if (x := d.pick()) is None or np.abs(d.array(x) - np.float32(0.123)).min() < FAR:
        return None
    limit = d.constant(np.float32(0.123))
    which = d.add(d.one_of(("Greater", "Less", "GreaterOrEqual", "LessOrEqual")), [x, limit])
    return which and d.add("Where", [which, x, d.constant(np.float32(0.5))])


@rule
def product(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    width = d.shape(x)[-1]
    kernel = d.constant(d.numbers(width, d.whole(1, 4), scale=1 / math.sqrt(width)))
    return d.add("MatMul", [x, kernel])


@rule
def softmax(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    return d.add(d.one_of(("Softmax", "LogSoftmax")), [x], axis=d.whole(-len(d.shape(x)), -1))


@rule
def place(d: Draw) -> str | None:
    if (x := d.pick()) is None:
        return None
    axis = d.whole(0, len(d.shape(x)) - 1)
    if d.shape(x)[axis] > 1 and np.diff(np.sort(d.array(x), axis), axis=axis).min() < FAR:
        return None
    return d.add(d.one_of(("ArgMax", "ArgMin")), [x], axis=axis, keepdims=d.whole(0, 1))
