"""ONNX nodes that stand for custom operations: their domain, shapes, values and hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from segrt.errors import PackageError, UnsupportedLayerError
from segrt.graph import metadata
from segrt.graph.custom_ops import REGISTRY, Array, Attributes, CustomOp
from segrt.graph.dims import Size, leaves

DOMAIN = "segrt.custom"


def is_custom(node: ir.Node) -> bool:
    """Say whether a node stands for a custom operation."""
    return node.domain == DOMAIN


def operation_of(node: ir.Node) -> CustomOp:
    """Return the operation of a node.

    Raises:
        UnsupportedLayerError: It is not defined here.
    """
    found = REGISTRY.find(node.op_type)
    if found is None:
        layer = metadata.layer_of(node) or str(node.name)
        raise UnsupportedLayerError(
            f"layer {layer!r} needs custom operation {node.op_type!r}, which is not defined here",
            [(layer, node.op_type)],
            hint="name the file that defines it: --ops my_ops.py (in Python: import it)",
        )
    return found


def attributes_of(node: ir.Node) -> Attributes:
    """Return the attributes of a node, each of its own type.

    Raises:
        UnsupportedLayerError: The operation is not defined here.
        UsageError: They are not those of the operation.
    """
    given = {name: item.value for name, item in node.attributes.items()}
    return operation_of(node).bind(given)


def infer(node: ir.Node) -> None:
    """Set shape and type of a node's output by the shape rule.

    Raises:
        UnsupportedLayerError: The operation is not defined here.
        UsageError: The rule fails.
    """
    op = operation_of(node)
    values = [value for value in node.inputs if value is not None]
    if any(value.shape is None for value in values):
        raise ValueError(f"the rank of an input of {node.name!r} is unknown")
    known = [
        [size if isinstance(size, int) else None for size in value.shape or ()] for value in values
    ]
    sizes = op.output_shape(leaves(known), attributes_of(node))
    output = node.outputs[0]
    output.type = ir.TensorType(values[0].dtype or ir.DataType.FLOAT)
    output.shape = ir.Shape([_dimension(size, values) for size in sizes])


def run(node: ir.Node, arrays: Sequence[Array | None]) -> Array:
    """Compute a node by its operation's reference.

    Raises:
        UnsupportedLayerError: The operation is not defined here.
        EngineError: The reference fails.
    """
    op = operation_of(node)
    return op.compute([array for array in arrays if array is not None], attributes_of(node))


def hashes(model: ir.Model) -> dict[str, str]:
    """Return name -> hash of the operations that a graph needs; SegRT's own are left out."""
    found = {node.op_type: operation_of(node) for node in model.graph if is_custom(node)}
    return {name: op.sha256 for name, op in sorted(found.items()) if not _is_own(op)}


def check_defined(wanted: Mapping[str, str]) -> None:
    """Refuse to go on where an operation is missing or is another one.

    Args:
        wanted: Name -> hash.

    Raises:
        PackageError: Names the operation and how to define it.
    """
    for name, digest in wanted.items():
        op = REGISTRY.find(name)
        if op is None:
            raise PackageError(
                f"the package needs custom operation {name!r}, which is not defined here",
                found="no such operation",
                wanted=f"sha256 {digest}",
                hint="name the file that defines it: --ops my_ops.py (in Python: import it)",
            )
        if op.sha256 != digest:
            raise PackageError(
                f"custom operation {name!r} is another one than the package was built with",
                found=f"sha256 {op.sha256} ({op.module})",
                wanted=f"sha256 {digest}",
                hint="use the file it was built with, or build the package again",
            )


def _is_own(op: CustomOp) -> bool:
    return op.module.startswith(f"{REGISTRY.package}.")


def _dimension(size: Size, values: Sequence[ir.Value]) -> int | ir.SymbolicDim | None:
    """Return a size for the graph; one that is passed on keeps its name."""
    if isinstance(size, int):
        return size
    if size.sign:
        return None
    index, axis = size.where
    shape = values[index].shape
    return None if shape is None else shape[axis]
