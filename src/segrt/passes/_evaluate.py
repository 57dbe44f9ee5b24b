"""Evaluate a few nodes with NumPy, to prove a rewrite on small arrays.

The operators of `_operators` are run there, the others by the ONNX reference evaluator. Floating
arrays may be widened to float64, so that a comparison shows the rewrite's error and not the
arithmetic's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import numpy as np
import onnx
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import custom_nodes
from segrt.graph.builder import OPSET
from segrt.passes._operators import OPERATORS, Array
from segrt.passes._pool_places import pool_with_places

Feeds: TypeAlias = Mapping[ir.Value, Array]


def evaluate(value: ir.Value, feeds: Feeds, *, wide: bool) -> Array:
    """Return the array that ``value`` holds.

    Args:
        value: What to compute.
        feeds: Arrays of the values where the computation starts.
        wide: Compute in float64 wherever the graph says float32.

    Raises:
        PassError: It depends on a value that is neither fed nor constant.
    """
    known: dict[ir.Value, Array] = {
        key: _widen(array) if wide else array for key, array in feeds.items()
    }
    # An own stack: chains of nodes may be longer than Python's recursion allows.
    stack = [value]
    while stack:
        current = stack[-1]
        if current in known:
            stack.pop()
            continue
        node = current.producer()
        if current.const_value is not None:
            # Large weights stay as they are: the operators widen them piece by piece.
            known[current] = current.const_value.numpy()
        elif node is None:
            raise PassError(f"cannot evaluate {value.name!r}: {current.name!r} has no value")
        elif missing := [item for item in node.inputs if item is not None and item not in known]:
            stack.extend(missing)
        else:
            inputs = [None if item is None else known[item] for item in node.inputs]
            known.update(zip(node.outputs, run_node(node, inputs, wide=wide), strict=True))
    return known[value]


def run_node(node: ir.Node, inputs: list[Array | None], *, wide: bool) -> list[Array]:
    """Return the outputs of one node.

    Raises:
        PassError: It cannot be run on these inputs.
    """
    try:
        found = _own(node, inputs)
    except (ValueError, IndexError) as error:
        # An operator with fixed sizes, say, does not take the probe's.
        raise _unable(node, error) from error
    if found is not None:
        return found
    if wide:
        inputs = [None if array is None else _widen(array) for array in inputs]
    if custom_nodes.is_custom(node):
        return [custom_nodes.run(node, inputs)]
    return _reference(node, inputs)


def _own(node: ir.Node, inputs: list[Array | None]) -> list[Array] | None:
    """Return what this project's own code computes; None where it leaves that to ONNX'."""
    own = OPERATORS.get(node.op_type) if node.domain == "" else None
    result = None if own is None else own(node, inputs)
    if result is not None:
        return [result]
    return pool_with_places(node, inputs) if node.op_type == "MaxPool" else None


def _unable(node: ir.Node, error: Exception) -> PassError:
    return PassError(f"node {node.name!r} ({node.op_type}) cannot be evaluated", found=str(error))


def _reference(node: ir.Node, inputs: list[Array | None]) -> list[Array]:
    # Slow to import, and only needed where a rewrite is being proven.
    from onnx.reference import ReferenceEvaluator

    proto = onnx.NodeProto(op_type=node.op_type, domain=node.domain, name=node.name or "")
    proto.input.extend("" if array is None else f"i{i}" for i, array in enumerate(inputs))
    proto.output.extend(f"o{i}" for i in range(len(node.outputs)))
    proto.attribute.extend(
        ir.serde.serialize_attribute(attribute) for attribute in node.attributes.values()
    )
    feeds = {f"i{i}": array for i, array in enumerate(inputs) if array is not None}
    try:
        with np.errstate(all="ignore"):
            found = ReferenceEvaluator(proto, opsets={"": OPSET}).run(None, feeds)
    except Exception as error:
        # The evaluator raises whatever NumPy raises; none of it may reach the user bare.
        raise _unable(node, error) from error
    return [np.asarray(array) for array in cast("list[Any]", found)]


def _widen(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array
