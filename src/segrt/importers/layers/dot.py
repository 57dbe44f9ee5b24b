"""Dot: the product of two tensors over one axis of each, sample by sample."""

from __future__ import annotations

import onnx_ir as ir

from segrt.importers.layers import _config
from segrt.importers.layers._base import Call, Layout, Tensor, keras_layer
from segrt.importers.layers._inputs import several, wrong_input
from segrt.importers.layers.layer_norm import unit_vectors

# Letters of the first tensor's axes, and of the second's.
_LETTERS = "bcdefgh", "bqrstuv"
# The smallest norm that ``normalize`` divides by: K.l2_normalize bounds its square.
_SMALLEST_NORM = 1e-6
_SMALLEST_NORM_3 = 1e-12


@keras_layer("Dot")
def dot(call: Call, xs: list[Tensor]) -> Tensor:
    """Convert to MatMul for sequences, to Einsum for more axes; two vectors give (N, 1)."""
    x, y = several(call, xs, exactly=2)
    axes = _axes(call, x, y)
    sizes = [x.shape[axes[0]], y.shape[axes[1]]]
    if None not in sizes and sizes[0] != sizes[1]:
        raise wrong_input(call, f"shapes {x.shape} and {y.shape}", f"one size of axes {axes}")
    values = [call.source(x), call.source(y)]
    if _config.flag(call, "normalize", False):
        smallest = _SMALLEST_NORM if call.keras_major == 2 else _SMALLEST_NORM_3
        values = [
            unit_vectors(call, value, call.ints("axis", [axis]), smallest, f"unit_{number}")
            for number, (value, axis) in enumerate(zip(values, axes, strict=True))
        ]
    if x.rank == y.rank == 2:
        product = call.op("Mul", values, role="products")
        total = call.op("ReduceSum", [product, call.ints("sum", [1])], role="dot", keepdims=1)
        return Tensor(total, Layout.SOURCE)
    if x.rank == y.rank == 3:
        return Tensor(_matrices(call, values, axes), Layout.SOURCE)
    terms = [list(letters[: z.rank]) for letters, z in zip(_LETTERS, (x, y), strict=True)]
    for term, axis in zip(terms, axes, strict=True):
        term[axis] = "z"
    out = [letter for letter in terms[0] + terms[1][1:] if letter != "z"]
    equation = f"{''.join(terms[0])},{''.join(terms[1])}->{''.join(out)}"
    return Tensor(call.op("Einsum", values, role="dot", equation=equation), Layout.SOURCE)


def _axes(call: Call, x: Tensor, y: Tensor) -> tuple[int, int]:
    found = _config.integers(call, "axes")
    pair = found * 2 if len(found) == 1 else found
    wanted = "one or two axes behind the batch"
    if len(pair) != 2 or not all(
        -z.rank < axis < z.rank and axis % z.rank for axis, z in zip(pair, (x, y), strict=True)
    ):
        raise call.unsupported("axes", found, wanted)
    if max(x.rank, y.rank) > len(_LETTERS[0]):
        raise wrong_input(call, f"shapes {x.shape} and {y.shape}", "7 axes or fewer")
    return pair[0] % x.rank, pair[1] % y.rank


def _matrices(call: Call, values: list[ir.Value], axes: tuple[int, int]) -> ir.Value:
    first, second = values
    if axes[0] == 1:
        first = call.op("Transpose", [first], role="first_turned", perm=[0, 2, 1])
    if axes[1] == 2:
        second = call.op("Transpose", [second], role="second_turned", perm=[0, 2, 1])
    return call.op("MatMul", [first, second], role="dot")
