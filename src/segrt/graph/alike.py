"""Say whether two graphs compute the same by the same nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir


def are_alike(first: ir.Model, second: ir.Model) -> bool:
    """Say whether two graphs differ in nothing but what they note about themselves.

    Names count: graphs that were lowered from one differ in them only where a rewrite differed.
    """
    one, other = first.graph, second.graph
    if [_node(node) for node in one] != [_node(node) for node in other]:
        return False
    ends = [
        [(v.name, str(v.shape), v.dtype) for v in (*g.inputs, *g.outputs)] for g in (one, other)
    ]
    if ends[0] != ends[1] or one.initializers.keys() != other.initializers.keys():
        return False
    pairs = ((value, other.initializers[name]) for name, value in one.initializers.items())
    return all(_same(a.const_value, b.const_value) for a, b in pairs)


def _node(node: ir.Node) -> tuple[Any, ...]:
    return (
        node.domain,
        node.op_type,
        [value.name if value is not None else None for value in node.inputs],
        [value.name for value in node.outputs],
        sorted((name, repr(attribute.value)) for name, attribute in node.attributes.items()),
    )


def _same(one: ir.TensorProtocol | None, other: ir.TensorProtocol | None) -> bool:
    if one is other or one is None or other is None:
        return one is other
    same_kind = one.dtype == other.dtype and tuple(one.shape) == tuple(other.shape)
    return same_kind and np.array_equal(one.numpy(), other.numpy())
