"""If and Loop: taken away where the condition is known, refused where it is not."""

from __future__ import annotations

import onnx_ir as ir

from segrt.errors import UnsupportedLayerError

_MOST_NESTED = 100


def settle_branches(model: ir.Model, file: str) -> None:
    """Put the branch that is always taken in the place of every If, in place.

    Raises:
        UnsupportedLayerError: Loops, or branches that depend on the input; all are listed.
    """
    for _ in range(_MOST_NESTED):
        constant = [(node, branch) for node in model.graph if (branch := _taken(node)) is not None]
        if not constant:
            break
        for node, branch in constant:
            _inline(model.graph, node, branch)
    left = [
        (node.name or str(node.outputs[0].name), node.op_type)
        for node in model.graph
        if any(_is_graph(attribute) for attribute in node.attributes.values())
    ]
    if left:
        rows = "".join(f"\n  {name}: {kind}" for name, kind in left)
        raise UnsupportedLayerError(
            f"{file}: {len(left)} nodes branch or loop while the network runs:{rows}",
            left,
            hint="export the network for inference, without control flow",
        )


def _is_graph(attribute: ir.Attr) -> bool:
    return attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _taken(node: ir.Node) -> ir.Graph | None:
    if node.op_type != "If" or node.domain != "" or node.inputs[0] is None:
        return None
    condition = node.inputs[0].const_value
    producer = node.inputs[0].producer()
    if condition is None and producer is not None and producer.op_type == "Constant":
        value = producer.attributes.get("value")
        condition = None if value is None else value.as_tensor()
    if condition is None or condition.size != 1:
        return None
    name = "then_branch" if bool(condition.numpy().reshape(-1)[0]) else "else_branch"
    return node.attributes[name].as_graph()


def _inline(graph: ir.Graph, node: ir.Node, branch: ir.Graph) -> None:
    """Move a branch's nodes and constants before the If, and its outputs into its place."""
    outputs = list(branch.outputs)
    taken = {output.name for one in graph for output in one.outputs} | set(graph.initializers)
    for value in list(branch.initializers.values()):
        branch.initializers.pop(str(value.name))
        value.name = _free(str(value.name), taken)
        graph.register_initializer(value)
    branch.outputs.clear()
    for inner in list(branch):
        branch.remove(inner)
        for output in inner.outputs:
            output.name = _free(str(output.name), taken)
        graph.insert_before(node, inner)
    for old, new in zip(node.outputs, outputs, strict=True):
        name, is_output = old.name, old.is_graph_output()
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name = None
        if is_output:
            new.name = name
    graph.remove(node, safe=True)


def _free(name: str, taken: set[str | None]) -> str:
    unique, count = name, 0
    while unique in taken:
        count += 1
        unique = f"{name}~{count}"
    taken.add(unique)
    return unique
