"""Floating-point operations of a network: what its products and the sums over them come to.

A multiplication and the addition that takes it up are two operations. Biases, activations,
normalisations, poolings and resizing are not counted: they cost memory traffic, not arithmetic.
Counted is what the layers ask for, padding included; what an engine saves by a cleverer form
(merged upsampling, Winograd's identity) is not taken off.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import onnx_ir as ir

from segrt.errors import ShapeError
from segrt.graph import metadata

Count = Callable[[ir.Node], int]


def count_operations(model: ir.Model) -> int:
    """Return the floating-point operations of one run.

    Args:
        model: All sizes are known, see `segrt.graph.fix_shapes`.

    Raises:
        ShapeError: A size is unknown.
    """
    return sum(operations_by_layer(model).values())


def operations_by_layer(model: ir.Model) -> dict[str, int]:
    """Return the floating-point operations of each Keras layer that has any, in order.

    Raises:
        ShapeError: A size is unknown.
    """
    found: dict[str, int] = {}
    for node in model.graph:
        count = _COUNTS.get(node.op_type) if node.domain == "" else None
        if count is not None:
            layer = metadata.layer_of(node) or str(node.name)
            found[layer] = found.get(layer, 0) + count(node)
    return found


def _sizes(value: ir.Value | None) -> tuple[int, ...]:
    """Return a value's sizes.

    Raises:
        ShapeError: One of them is unknown.
    """
    if value is None or value.shape is None or not value.shape.is_static():
        name = None if value is None else value.name
        raise ShapeError(f"operations cannot be counted: the sizes of {name!r} are unknown")
    return tuple(value.shape.numpy())


def _convolution(node: ir.Node) -> int:
    """Each output element sums over one filter: O x I/groups x kernel."""
    return 2 * prod(_sizes(node.outputs[0])) * prod(_sizes(node.inputs[1])[1:])


def _transposed_convolution(node: ir.Node) -> int:
    """Each input element is multiplied with one filter: I x O/groups x kernel."""
    return 2 * prod(_sizes(node.inputs[0])) * prod(_sizes(node.inputs[1])[1:])


def _matrix_product(node: ir.Node) -> int:
    left = _sizes(node.inputs[0])
    return 2 * prod(_sizes(node.outputs[0])) * left[-1]


def _dense(node: ir.Node) -> int:
    left = _sizes(node.inputs[0])
    transposed = "transA" in node.attributes and node.attributes["transA"].as_int() == 1
    return 2 * prod(_sizes(node.outputs[0])) * left[0 if transposed else 1]


def _einsum(node: ir.Node) -> int:
    """Every combination of the indices is one product, if two factors are all there are."""
    terms = node.attributes["equation"].as_string().replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2 or "." in "".join(terms):
        raise ShapeError(f"operations of the sum {node.name!r} cannot be counted")
    size: dict[str, int] = {}
    for term, value in zip(terms, node.inputs, strict=True):
        size |= dict(zip(term, _sizes(value), strict=True))
    return 2 * prod(size.values())


_COUNTS: dict[str, Count] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "MatMul": _matrix_product,
    "Gemm": _dense,
    "Einsum": _einsum,
}
