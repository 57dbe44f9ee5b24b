"""Put a graph together again from graphs of its pieces, by the names of the values between them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import chain, count

import numpy as np
import onnx_ir as ir

from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION


def stitch(parts: Sequence[ir.Model], whole: ir.Model) -> ir.Model:
    """Return one graph of several that compute it together.

    Args:
        parts: In an order that computes; not changed. What one makes for another has the same
            name in both. Other names may be there twice: the later one gets a suffix.
        whole: The graph that was cut; inputs and outputs are named and ordered as there.

    Raises:
        KeyError: A part reads a value that no part before it makes.
    """
    inputs = [_copy(value) for value in whole.graph.inputs]
    known = {str(value.name): value for value in inputs}
    graph = ir.Graph(inputs, [], nodes=[], opset_imports=dict(whole.graph.opset_imports))
    graph.name = whole.graph.name
    model = ir.Model(graph, ir_version=IR_VERSION, metadata_props=dict(whole.metadata_props))
    shared = {str(value.name) for part in parts for value in part.graph.outputs} | set(known)
    for part in parts:
        _append(graph, part.clone(), known, shared)
        for keras, reason in metadata.fused(part).items():
            metadata.add_fused(model, keras, reason)
        graph.opset_imports.update(part.graph.opset_imports)
    graph.outputs.extend(known[str(value.name)] for value in whole.graph.outputs)
    return model


def distinct(model: ir.Model, taken: Container[str]) -> None:
    """Rename inner values, weights and nodes of a graph whose names are taken elsewhere."""
    ends = {*model.graph.inputs, *model.graph.outputs}
    values = [
        *model.graph.initializers.values(),
        *(v for node in model.graph for v in node.outputs),
    ]
    own = {str(value.name) for value in (*ends, *values)}
    for value in values:
        name = str(value.name)
        if value in ends or name not in taken:
            continue
        fresh = next(new for new in _numbered(name) if new not in taken and new not in own)
        own.add(fresh)
        value.name = fresh
    names = {str(node.name) for node in model.graph}
    for node in model.graph:
        if str(node.name) in taken:
            node.name = next(
                new for new in _numbered(str(node.name)) if new not in taken and new not in names
            )
            names.add(node.name)


def _append(graph: ir.Graph, part: ir.Model, known: dict[str, ir.Value], shared: set[str]) -> None:
    """Move a part's nodes and weights into the graph."""
    ends = set(part.graph.outputs)
    for value in list(part.graph.inputs):
        source = known[str(value.name)]
        for key, text in value.metadata_props.items():
            source.metadata_props.setdefault(key, text)
        for use in list(value.uses()):
            use.node.replace_input_with(use.idx, source)
    part.graph.outputs.clear()
    nodes = list(part.graph)
    part.graph.remove(nodes)
    for name, weight in list(part.graph.initializers.items()):
        del part.graph.initializers[name]
        _add_weight(graph, weight, known, shared)
    names = {node.name for node in graph}
    for node in nodes:
        node.name = _free(str(node.name), names)
        names.add(node.name)
        for value in node.outputs:
            if value not in ends:
                value.name = _free(str(value.name), known.keys() | shared)
            known[str(value.name)] = value
        graph.append(node)


def _add_weight(
    graph: ir.Graph, weight: ir.Value, known: dict[str, ir.Value], shared: set[str]
) -> None:
    """Add a weight, or read the one that is there already if it is the same."""
    present = graph.initializers.get(str(weight.name))
    if present is not None and _same(present, weight):
        for use in list(weight.uses()):
            use.node.replace_input_with(use.idx, present)
        return
    weight.name = _free(str(weight.name), known.keys() | shared | set(graph.initializers))
    if weight.const_value is not None:
        weight.const_value.name = weight.name
    graph.register_initializer(weight)
    known[str(weight.name)] = weight


def _same(a: ir.Value, b: ir.Value) -> bool:
    first, second = a.const_value, b.const_value
    if first is second:
        return True
    if first is None or second is None or first.dtype != second.dtype:
        return False
    return np.array_equal(first.numpy(), second.numpy())


def _free(name: str, taken: Container[str | None]) -> str:
    return next(one for one in chain([name], _numbered(name)) if one not in taken)


def _numbered(name: str) -> Iterator[str]:
    return (f"{name}~{number}" for number in count(1))


def _copy(value: ir.Value) -> ir.Value:
    copy = ir.Value(name=value.name, shape=value.shape, type=value.type)
    copy.metadata_props.update(value.metadata_props)
    return copy


__all__ = ["distinct", "stitch"]
