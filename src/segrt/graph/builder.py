"""Append nodes to a graph, with shapes and types known at once.

Shapes come from ONNX's own per-node inference, so what a converter sees is what every ONNX
consumer will infer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from segrt.errors import UsageError
from segrt.graph import custom_nodes
from segrt.graph.custom_ops import CustomOp

OPSET = 18
IR_VERSION = 10
# Constants up to this many elements are shown to shape inference (Reshape's shape, Pad's pads).
SMALL = 64

AttributeValue = int | float | str | Sequence[int] | Sequence[float] | ir.Attr


class GraphBuilder:
    """Grows one `ir.Graph`.

    Args:
        graph: Appended to.

    Attributes:
        appended: The nodes appended so far; the owner of the builder may clear it.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._taken: set[str | None] = {value.name for value in graph.inputs}
        self._taken |= set(graph.initializers)
        # Nodes keep their names when values are renamed, so these are told apart on their own.
        self._node_names: set[str | None] = {node.name for node in graph}
        self._transposed: dict[tuple[ir.Value, tuple[int, ...]], ir.Value] = {}
        self.appended: list[ir.Node] = []

    def unique(self, name: str) -> str:
        """Return ``name``, or ``name~1``, ``name~2`` ... if it is taken; it is taken then."""
        return _unique(name, self._taken)

    def rename(self, value: ir.Value, name: str) -> None:
        """Give ``value`` the name ``name``, freeing its old one; a taken name gets a suffix."""
        if value.name != name:
            self._taken.discard(value.name)
            value.name = self.unique(name)

    def input(self, name: str, shape: Sequence[int | None], dtype: ir.DataType) -> ir.Value:
        """Append a graph input; None sizes become dimension names ``<name>_<axis>``."""
        sizes = [
            size if size is not None else ("batch" if axis == 0 else f"{name}_{axis}")
            for axis, size in enumerate(shape)
        ]
        value = ir.Value(name=self.unique(name), shape=ir.Shape(sizes), type=ir.TensorType(dtype))
        self.graph.inputs.append(value)
        return value

    def constant(self, name: str, array: npt.ArrayLike) -> ir.Value:
        """Append an initializer that holds ``array`` (C-contiguous copy only if needed)."""
        data = np.ascontiguousarray(array).reshape(np.shape(array))
        unique = self.unique(name)
        tensor = ir.Tensor(data, name=unique)
        value = ir.Value(
            name=unique, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.graph.register_initializer(value)
        return value

    def op(
        self,
        op_type: str | CustomOp,
        inputs: Sequence[ir.Value | None],
        *,
        name: str,
        **attributes: AttributeValue,
    ) -> ir.Value:
        """Append a node with one output.

        Args:
            op_type: ONNX operator of the default domain, or a custom operation.
            inputs: Its inputs; None leaves an optional one out.
            name: Name of the node and of its output (made unique).
            attributes: ONNX attributes.
        """
        return self.ops(op_type, inputs, name=name, outputs=1, **attributes)[0]

    def ops(
        self,
        op_type: str | CustomOp,
        inputs: Sequence[ir.Value | None],
        *,
        name: str,
        outputs: int,
        **attributes: AttributeValue,
    ) -> Sequence[ir.Value]:
        """Append a node with several outputs; see `op`."""
        domain = ""
        if isinstance(op_type, CustomOp):
            attributes = {**op_type.bind(attributes)}
            op_type, domain = op_type.name, custom_nodes.DOMAIN
            self.graph.opset_imports.setdefault(domain, 1)
        unique = self.unique(name)
        names = [unique] + [self.unique(f"{name}#{index}") for index in range(1, outputs)]
        node = ir.Node(
            domain,
            op_type,
            inputs,
            [_attribute(key, value) for key, value in attributes.items()],
            outputs=[ir.Value(name=output) for output in names],
            name=_unique(unique, self._node_names),
        )
        self.graph.append(node)
        self.appended.append(node)
        infer_node(node)
        return node.outputs

    def transpose(self, value: ir.Value, axes: Sequence[int], *, name: str) -> ir.Value:
        """Return ``value`` with its axes permuted; the same request twice is one node."""
        key = (value, tuple(axes))
        if key not in self._transposed:
            self._transposed[key] = self.op("Transpose", [value], name=name, perm=list(axes))
        return self._transposed[key]


def _unique(name: str, taken: set[str | None]) -> str:
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}~{count}"
    taken.add(candidate)
    return candidate


def infer_node(
    node: ir.Node,
    *,
    opset: int = OPSET,
    known: Callable[[ir.Value], npt.NDArray[Any] | None] | None = None,
) -> None:
    """Set the shapes and types of a node's outputs from its inputs.

    Args:
        node: Its inputs have types and shapes.
        opset: Whose rules.
        known: Tells what inputs hold that are no constants, where that is known.

    Raises:
        onnx.shape_inference.InferenceError: The inputs do not fit the operator.
        UnsupportedLayerError: It is a custom operation that is not defined here.
    """
    if custom_nodes.is_custom(node):
        try:
            custom_nodes.infer(node)
        except UsageError as error:
            raise onnx.shape_inference.InferenceError(str(error)) from error
        return
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    proto = onnx.NodeProto(op_type=node.op_type, domain=node.domain, name=node.name)
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for index, value in enumerate(node.inputs):
        # Positional names: inference looks at types, not at names, and names must be non-empty.
        key = f"i{index}" if value is not None else ""
        proto.input.append(key)
        if value is None:
            continue
        types[key] = _type_proto(value)
        constant = value.const_value
        if constant is not None and constant.size <= SMALL:
            data[key] = ir.serde.serialize_tensor(constant)
        elif known is not None and (array := known(value)) is not None and array.size <= SMALL:
            data[key] = onnx.numpy_helper.from_array(
                np.ascontiguousarray(array).reshape(array.shape)
            )
    proto.output.extend(f"o{index}" for index in range(len(node.outputs)))
    proto.attribute.extend(
        ir.serde.serialize_attribute(attribute) for attribute in node.attributes.values()
    )
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            schema,
            proto,
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid("", opset)],
            ir_version=IR_VERSION,
        )
    except onnx.checker.ValidationError as error:
        # A type of numbers that the operator does not take, such as one of eight bits' floats.
        raise onnx.shape_inference.InferenceError(str(error)) from error
    for index, output in enumerate(node.outputs):
        result = inferred.get(f"o{index}")
        if result is None or not result.HasField("tensor_type"):
            continue
        tensor = result.tensor_type
        output.type = ir.TensorType(ir.DataType(tensor.elem_type))
        if tensor.HasField("shape"):
            output.shape = ir.Shape(
                [
                    dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
                    for dim in tensor.shape.dim
                ]
            )


def _attribute(name: str, value: AttributeValue) -> ir.Attr:
    """Return an attribute; `ir.convenience` asks costly protocol questions about each value."""
    if isinstance(value, ir.Attr):
        return value
    if isinstance(value, str):
        return ir.AttrString(name, value)
    if isinstance(value, int):
        return ir.AttrInt64(name, int(value))
    if isinstance(value, float):
        return ir.AttrFloat32(name, value)
    if all(isinstance(item, int) for item in value):
        return ir.AttrInt64s(name, [int(item) for item in value])
    return ir.AttrFloat32s(name, [float(item) for item in value])


def static_shape(value: ir.Value) -> tuple[int | None, ...]:
    """Return a value's sizes, None where a size is unknown.

    Raises:
        ValueError: Not even the rank is known.
    """
    if value.shape is None:
        raise ValueError(f"the rank of {value.name!r} is unknown")
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    shape = None
    if value.shape is not None:
        shape = [size if isinstance(size, int) else (size.value or None) for size in value.shape]
    if value.dtype is None:
        raise ValueError(f"the type of {value.name!r} is unknown")
    return onnx.helper.make_tensor_type_proto(int(value.dtype), shape)
