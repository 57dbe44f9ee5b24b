"""Products of matrices: matmul, dot, tensordot, einsum."""

from __future__ import annotations

import math

from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.operations._base import Operand, operation
from segrt.importers.operations._values import (
    axes_of,
    contents,
    floats,
    integer,
    number,
    sizes_of,
)
from segrt.importers.operations.shaping import permuted, reshaped

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@operation(
    "tf:linalg.matmul|matmul(a>x, b>y, transpose_a=False, transpose_b=False, adjoint_a=False, "
    "adjoint_b=False, a_is_sparse=False, b_is_sparse=False, output_type=None)",
    "node:MatMul(a>x, b>y, transpose_a=False, transpose_b=False)",
    "node:BatchMatMul|BatchMatMulV2|BatchMatMulV3(x, y, adj_x>transpose_a=False, "
    "adj_y>transpose_b=False)",
    "keras:Matmul(x1>x, x2>y)",
)
def matmul(
    call: Call,
    x: Operand,
    y: Operand,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    **_: object,
) -> Tensor:
    """Multiply the last two axes; axes before them broadcast."""
    left = _matrix(call, floats(call, x), bool(transpose_a or adjoint_a))
    right = _matrix(call, floats(call, y), bool(transpose_b or adjoint_b))
    values = [call.source(left), call.source(right)]
    return Tensor(call.op("MatMul", values, role="product"), Layout.SOURCE)


def _matrix(call: Call, x: Tensor, transposed: bool) -> Tensor:
    if not transposed:
        return x
    order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    return permuted(call, x, order)


@operation("keras:Dot(x1>x, x2>y)")
def dot(call: Call, x: Operand, y: Operand) -> Tensor:
    """NumPy's dot: the last axis with the last but one."""
    left, right = floats(call, x), floats(call, y)
    if right.rank <= 2:
        values = [call.source(left), call.source(right)]
        return Tensor(call.op("MatMul", values, role="product"), Layout.SOURCE)
    return contracted(call, left, right, [left.rank - 1], [right.rank - 2])


@operation("tf:tensordot(a>x, b>y, axes)", "keras:Tensordot(x1>x, x2>y, axes=2)")
def tensordot(call: Call, x: Operand, y: Operand, axes: Operand) -> Tensor:
    """Sum products over pairs of axes."""
    left, right = floats(call, x), floats(call, y)
    if contents(axes) is not None and contents(axes).ndim == 0:  # type: ignore[union-attr]
        count = integer(call, "axes", axes)
        pairs = list(range(left.rank - count, left.rank)), list(range(count))
    else:
        pairs = axes_of(call, left, axes[0]), axes_of(call, right, axes[1])
    return contracted(call, left, right, *pairs)


def contracted(call: Call, x: Tensor, y: Tensor, x_axes: list[int], y_axes: list[int]) -> Tensor:
    """Sum products over pairs of axes; the other axes of both follow each other."""
    kept = [axis for axis in range(x.rank) if axis not in x_axes]
    others = [axis for axis in range(y.rank) if axis not in y_axes]
    count = [x.shape[axis] for axis in x_axes]
    sizes = [sizes_of(y)[axis] for axis in others]
    known = all(isinstance(size, int) for size in [*count, *sizes])
    if len(x_axes) == 1 and y.rank == 2:
        right = permuted(call, y, [*y_axes, *others])
        values = [call.source(permuted(call, x, [*kept, *x_axes])), call.source(right)]
        return Tensor(call.op("MatMul", values, role="product"), Layout.SOURCE)
    if not known:
        return _einsum(call, [x, y], *_letters(x, y, x_axes, y_axes))
    depth = math.prod(size for size in count if size is not None)
    rows = reshaped(call, permuted(call, x, [*kept, *x_axes]), [-1, depth])
    columns = reshaped(call, permuted(call, y, [*y_axes, *others]), [depth, -1])
    values = [call.source(rows), call.source(columns)]
    product = Tensor(call.op("MatMul", values, role="product"), Layout.SOURCE)
    front = [sizes_of(x)[axis] for axis in kept]
    if sum(not isinstance(size, int) for size in front) > 1:
        return _einsum(call, [x, y], *_letters(x, y, x_axes, y_axes))
    target = [size if isinstance(size, int) else -1 for size in [*front, *sizes]]
    return reshaped(call, product, target)


def _letters(x: Tensor, y: Tensor, x_axes: list[int], y_axes: list[int]) -> tuple[list[str], str]:
    left = list(_LETTERS[: x.rank])
    right = list(_LETTERS[x.rank : x.rank + y.rank])
    for one, other in zip(x_axes, y_axes, strict=True):
        right[other] = left[one]
    output = [letter for i, letter in enumerate(left) if i not in x_axes]
    output += [letter for i, letter in enumerate(right) if i not in y_axes]
    return ["".join(left), "".join(right)], "".join(output)


@operation(
    "node:Einsum(*inputs>operands, equation)",
    "keras:Einsum(*operands, subscripts>equation)",
)
def einsum(call: Call, operands: list[Operand], equation: str) -> Tensor:
    """Sums of products by a formula such as ``bhwc,cd->bhwd``."""
    xs = [floats(call, x) for x in operands]
    terms, arrow, output = equation.replace(" ", "").partition("->")
    inputs = terms.split(",")
    if not arrow:
        single = [c for c in terms if c.isalpha() and terms.count(c) == 1]
        output = ("..." if "..." in terms else "") + "".join(sorted(single))
    if len(inputs) != len(xs):
        raise call.unsupported("equation", equation, f"{len(xs)} operands")
    return _einsum(call, xs, inputs, output)


@operation("tf:einsum(equation, *inputs>operands)")
def einsum_without_operands(call: Call, equation: str, operands: list[Operand]) -> Tensor:
    """Refuse: TFOpLambda does not save which tensors an einsum was called with."""
    if operands:
        return einsum(call, operands, equation)
    raise call.unsupported(
        "tf.einsum", f"{equation!r} alone", "its operands, which Keras 2 did not save"
    )


def _einsum(call: Call, xs: list[Tensor], inputs: list[str], output: str) -> Tensor:
    """Append a MatMul where the formula is one, else an Einsum."""
    product = _as_matmul(call, xs, inputs, output) if len(xs) == 2 else None
    if product is not None:
        return product
    equation = f"{','.join(inputs)}->{output}"
    values = [call.source(x) for x in xs]
    return Tensor(call.op("Einsum", values, role="einsum", equation=equation), Layout.SOURCE)


def _as_matmul(call: Call, xs: list[Tensor], inputs: list[str], output: str) -> Tensor | None:
    """Return the product of matrices that the formula is; None where it is none.

    It is one where one letter is summed over and the second operand has one letter of its own;
    the first has one too, or any number where no other letter is shared.
    """
    first, second = inputs
    plain = all(text.isalpha() and len(set(text)) == len(text) for text in (first, second, output))
    if not plain or set(output) - set(first) - set(second):
        return None
    summed = [c for c in first if c in second and c not in output]
    shared = [c for c in first if c in second and c in output]
    rows = [c for c in first if c not in second]
    columns = [c for c in second if c not in first]
    whole = all(c in output for c in [*rows, *columns])
    simple = len(rows) == 1 if shared else len(rows) >= 1
    if not (whole and simple and len(summed) == 1 and len(columns) == 1):
        return None
    left = permuted(call, xs[0], [first.index(c) for c in [*shared, *rows, *summed]])
    right = permuted(call, xs[1], [second.index(c) for c in [*shared, *summed, *columns]])
    values = [call.source(left), call.source(right)]
    product = Tensor(call.op("MatMul", values, role="product"), Layout.SOURCE)
    found = [*shared, *rows, *columns]
    return permuted(call, product, [found.index(c) for c in output])


@operation("keras:Inner(x1>x, x2>y)")
def inner(call: Call, x: Operand, y: Operand) -> Tensor:
    """Sum products over the last axes."""
    left, right = floats(call, x), floats(call, y)
    return contracted(call, left, right, [left.rank - 1], [right.rank - 1])


@operation(
    "keras:DotProductAttention(query, key, value, bias=None, mask=None, scale=None, "
    "is_causal=False)"
)
def attention(
    call: Call, query: Operand, key: Operand, value: Operand, scale: Operand, **others: object
) -> Tensor:
    """Softmax of queries with keys, of values; each (batch, place, head, channel)."""
    if any(other is not None and other is not False for other in others.values()):
        raise call.unsupported("bias, mask or is_causal", others, "none of them")
    queries, keys, values = (floats(call, x) for x in (query, key, value))
    if queries.rank != 4 or queries.shape[3] is None:
        raise call.unsupported("query", queries.shape, "4 axes, known channels")
    by_head = [permuted(call, x, [0, 2, 1, 3]) for x in (queries, values)]
    turned = permuted(call, keys, [0, 2, 3, 1])
    product = call.op("MatMul", [call.source(by_head[0]), call.source(turned)], role="scores")
    factor = queries.shape[3] ** -0.5 if scale is None else number(call, "scale", scale)
    scaled = call.op("Mul", [product, call.scalar("scale", factor)], role="scaled")
    shares = call.op("Softmax", [scaled], axis=-1)
    mixed = call.op("MatMul", [shares, call.source(by_head[1])], role="mixed")
    return permuted(call, Tensor(mixed, Layout.SOURCE), [0, 2, 1, 3])


@operation("keras:Outer(x1>x, x2>y)")
def outer(call: Call, x: Operand, y: Operand) -> Tensor:
    """All products of two tensors' elements."""
    rows = reshaped(call, floats(call, x), [-1, 1])
    columns = reshaped(call, floats(call, y), [1, -1])
    values = [call.source(rows), call.source(columns)]
    return Tensor(call.op("Mul", values, role="outer"), Layout.SOURCE)
