"""Names for people: which node of a foreign graph is a layer, and what its weights are called.

There are no Keras layers in an ONNX file. Every node that computes something from the network's
input takes their place, under its own name as the exporter gave it; nodes that only move numbers
about (reshapes, layout changes) belong to the next one, and constants to the node that reads them.
"""

from __future__ import annotations

import onnx_ir as ir

from segrt.graph import metadata

# They compute nothing and would only repeat a layer's numbers in another order.
MOVERS = frozenset(
    (
        "Cast",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Shape",
        "Size",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    )
)
# Of these, the ones that make an image larger: repetition of pixels, spelled out.
_REPEATING = ("Tile", "Expand", "Gather")
_WRAPPINGS = ("StatefulPartitionedCall/", "PartitionedCall/")
# What the inputs of an operator are called, from the second on.
_ROLES = {
    "Conv": ("kernel", "bias"),
    "ConvTranspose": ("kernel", "bias"),
    "Gemm": ("kernel", "bias"),
    "MatMul": ("kernel",),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "InstanceNormalization": ("gamma", "beta"),
    "LayerNormalization": ("gamma", "beta"),
    "PRelu": ("alpha",),
}


def tag(model: ir.Model) -> None:
    """Tag inputs, layers and weights."""
    graph = model.graph
    live: set[ir.Value] = set(graph.inputs)
    taken = {str(value.name) for value in graph.inputs}
    for value in graph.inputs:
        metadata.tag_value(value, str(value.name), None)
    _name_nodes(graph)
    for node in graph:
        if not any(value in live for value in node.inputs):
            continue
        live.update(node.outputs)
        metadata.tag_node(node, _layer_name(node), node.op_type)
        if node.op_type in MOVERS or not _is_float(node.outputs[0]):
            continue
        name = _layer_name(node)
        if name not in taken:
            taken.add(name)
            metadata.tag_value(node.outputs[0], name, None)
    _name_repetitions(graph, live, taken)
    _name_weights(graph)


def _name_repetitions(graph: ir.Graph, live: set[ir.Value], taken: set[str]) -> None:
    """Give the end of every chain of movers that repeats numbers the name its steps share."""
    done: set[ir.Value] = set()
    for node in graph:
        if node.op_type not in _REPEATING or node.outputs[0] not in live:
            continue
        chain = _chain(node)
        end = chain[-1].outputs[0]
        if end in done or end.shape is None or len(end.shape) != 4 or not _is_float(end):
            continue
        done.add(end)
        shared = _plain(shared_path([str(step.name) for step in chain])) or _layer_name(node)
        if shared in taken or end.is_graph_output():
            continue
        taken.add(shared)
        metadata.tag_value(end, shared, None)
        for step in chain:
            metadata.tag_node(step, shared, step.op_type)


def _chain(node: ir.Node) -> list[ir.Node]:
    """Return the movers around ``node``, in order."""
    chain = [node]
    while (before := chain[0].inputs[0]) is not None:
        maker = before.producer()
        if maker is None or maker.op_type not in MOVERS or len(_readers(before)) != 1:
            break
        chain.insert(0, maker)
    while len(readers := _readers(chain[-1].outputs[0])) == 1:
        reader = readers.pop()
        if reader.op_type not in MOVERS or reader.inputs[0] is not chain[-1].outputs[0]:
            break
        chain.append(reader)
    return chain


def shared_path(names: list[str]) -> str:
    """Return the folders that all names with folders lie in: ``net/up`` of ``net/up/Tile`` ..."""
    shared: list[str] | None = None
    for name in names:
        parts = name.split("/")[:-1]
        if not parts:
            continue
        known = parts if shared is None else shared
        count = next(
            (i for i, (a, b) in enumerate(zip(known, parts, strict=False)) if a != b), None
        )
        shared = known[: min(len(known), len(parts)) if count is None else count]
    return "/".join(shared or ())


def _readers(value: ir.Value) -> set[ir.Node]:
    return {use.node for use in value.uses() if use.node.op_type not in ("Shape", "Size")}


def _layer_name(node: ir.Node) -> str:
    output = node.outputs[0]
    return _plain(str(output.name) if output.is_graph_output() else str(node.name))


def _plain(name: str) -> str:
    """Leave out the folders that TensorFlow puts around everything."""
    while name.startswith(_WRAPPINGS):
        name = name.partition("/")[2]
    return name


def _name_nodes(graph: ir.Graph) -> None:
    """Give every node a name of its own: the exporter's, else its output's."""
    taken: set[str] = set()
    for node in graph:
        name = node.name or str(node.outputs[0].name)
        count, unique = 0, name
        while unique in taken:
            count += 1
            unique = f"{name}~{count}"
        taken.add(unique)
        node.name = unique


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()


def _name_weights(graph: ir.Graph) -> None:
    """Call weights ``<layer>/<role>``; what two nodes share is named after the first."""
    taken = {str(value.name) for value in graph.inputs} | set(graph.initializers)
    taken |= {str(output.name) for node in graph for output in node.outputs}
    done: set[ir.Value] = set()
    for node in graph:
        roles = _ROLES.get(node.op_type, ())
        for role, value in zip(roles, node.inputs[1:], strict=False):
            if value is None or not value.is_initializer() or value in done:
                continue
            done.add(value)
            name = f"{_layer_name(node)}/{role}"
            if name not in taken and not value.is_graph_output():
                taken.add(name)
                _rename(graph, value, name)


def _rename(graph: ir.Graph, value: ir.Value, name: str) -> None:
    graph.initializers.pop(str(value.name))
    value.name = name
    if value.const_value is not None:
        value.const_value.name = name
    graph.register_initializer(value)
