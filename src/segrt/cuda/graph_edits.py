"""Small changes to a graph that only the engine's readers will see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Settings = Mapping[str, "int | float | Sequence[int]"]


def node_like(
    like: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], settings: Settings
) -> ir.Node:
    """Return a node of the same layer as another one, with other settings."""
    attributes = [ir.convenience.convert_attribute(key, value) for key, value in settings.items()]
    made = ir.Node("", op_type, inputs, attributes, name=f"{like.name}:{op_type}")
    made.metadata_props.update(like.metadata_props)
    return made


def copy_with(like: ir.Node, inputs: Sequence[ir.Value | None]) -> ir.Node:
    """Return a node that does the same to other inputs."""
    made = ir.Node("", like.op_type, inputs, list(like.attributes.values()), name=f"{like.name}:1")
    made.metadata_props.update(like.metadata_props)
    return made


def name_result(node: ir.Node, name: str, shape: ir.Shape | None, like: ir.Value) -> ir.Value:
    """Name the result of a new node and give it a shape, and the type of another value."""
    result = node.outputs[0]
    result.name, result.shape, result.type = name, shape, like.type
    return result


def put_for(graph: ir.Graph, made: ir.Node, old: ir.Node) -> None:
    """Let a new node make what an old one made, under the same name, in its place."""
    value, result = made.outputs[0], old.outputs[0]
    value.metadata_props.update(result.metadata_props)
    value.meta.update(result.meta)
    graph.insert_before(old, made)
    name, result.name = result.name or "", None
    name_result(made, name, result.shape, result)
    for index, output in enumerate(graph.outputs):
        if output is result:
            graph.outputs[index] = value
    result.replace_all_uses_with(value)
    graph.remove(old, safe=True)


def remove_unread(graph: ir.Graph, *nodes: ir.Node) -> None:
    """Remove those of the nodes whose results nothing reads, one behind the other."""
    for node in nodes:
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            graph.remove(node, safe=True)


def constant_value(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    """Return a new constant."""
    while name in graph.initializers:
        name += "+"
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, const_value=tensor)
    value.shape, value.dtype = ir.Shape(array.shape), tensor.dtype
    graph.register_initializer(value)
    return value


def only_reader(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads a value; None where there are more or it leaves the graph."""
    readers = [reader for reader, _ in value.uses()]
    return readers[0] if len(readers) == 1 and not value.is_graph_output() else None


def sizes_of(value: ir.Value | None) -> tuple[int, ...]:
    """Return a value's sizes; nothing where one is not known."""
    sizes = [size for size in (value.shape or ()) if isinstance(size, int)] if value else []
    whole = value is not None and value.shape is not None and len(sizes) == len(value.shape)
    return tuple(sizes) if whole else ()
