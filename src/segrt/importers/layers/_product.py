"""A tensor times a constant kernel by an einsum equation, as Reshape, Transpose and MatMul.

Engines fuse a plain MatMul; few take Einsum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from segrt.graph.builder import static_shape
from segrt.importers._layer_graph import Array
from segrt.importers.layers._base import Call

# ONNX' Reshape: this axis keeps the size it has, and this one takes what is left.
_KEEP, _REST = 0, -1


def times_kernel(
    call: Call, value: ir.Value, kernel: Array, terms: tuple[str, str, str], *, name: str = "kernel"
) -> ir.Value:
    """Append ``einsum("<x>,<kernel>-><out>", value, kernel)``.

    Args:
        call: The layer's call.
        value: In the order of the first term.
        kernel: In the order of the second term; becomes a weight.
        terms: One letter an axis; every letter of the output is one of the input's or kernel's,
            and every letter of the kernel one of the input's or output's. Letters of all three
            are a batch of kernels.
        name: Of the weight.
    """
    source, inside, out = terms
    shared = [letter for letter in inside if letter in source and letter in out]
    kept = [letter for letter in source if letter in out and letter not in shared] + shared
    summed = [letter for letter in inside if letter in source and letter not in out]
    fresh = [letter for letter in inside if letter not in source]
    sizes = dict(zip(source, static_shape(value), strict=True))
    sizes |= dict(zip(inside, kernel.shape, strict=True))
    first = kept + summed
    if first != list(source):
        perm = [source.index(letter) for letter in first]
        value = call.op("Transpose", [value], role=f"{name}_order", perm=perm)
    if len(summed) != 1:
        flat = [_KEEP] * len(kept) + [_REST]
        value = call.op("Reshape", [value, call.ints("flat", flat)], role=f"{name}_flat")
    order = [inside.index(letter) for letter in shared + summed + fresh]
    rows = math.prod(sizes[letter] or 1 for letter in summed)
    stack = [sizes[letter] or 1 for letter in shared]
    matrix = call.weight(name, kernel.transpose(order).reshape(*stack, rows, -1))
    if shared:  # rows of one: every kernel of the batch has its own
        value = call.op("Unsqueeze", [value, call.ints("row", [-2])], role=f"{name}_row")
    value = call.op("MatMul", [value, matrix], role=f"{name}_product")
    if shared:
        value = call.op("Squeeze", [value, call.ints("row", [-2])], role=f"{name}_rows")
    if len(fresh) != 1:
        split = [_KEEP] * len(kept) + [sizes[letter] or 1 for letter in fresh]
        value = call.op("Reshape", [value, call.ints("split", split)], role=f"{name}_split")
    found = kept + fresh
    if found != list(out):
        perm = [found.index(letter) for letter in out]
        value = call.op("Transpose", [value], role=f"{name}_back", perm=perm)
    return value


def fits(terms: Sequence[str]) -> bool:
    """Say whether `times_kernel` takes these terms: no letter twice, none that comes to nothing."""
    source, inside, out = terms
    distinct = all(len(set(term)) == len(term) for term in terms)
    used = set(inside) <= set(source) | set(out) and set(source) <= set(inside) | set(out)
    return distinct and used and set(out) <= set(source) | set(inside)
