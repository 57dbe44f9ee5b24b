"""Take nodes out of a graph and leave open what they made."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir


def cut_out(model: ir.Model, nodes: Collection[ir.Node]) -> tuple[ir.Model, dict[ir.Node, ir.Node]]:
    """Return a copy without some nodes; values of theirs that others read become its inputs.

    Args:
        model: Not changed; the copy shares its weights.
        nodes: Of its graph.

    Returns:
        The copy, and node of the copy -> node of ``model``.
    """
    copy = model.clone()
    origins = dict(zip(copy.graph, model.graph, strict=True))
    gone = [node for node, original in origins.items() if original in nodes]
    lost = {value for node in gone for value in node.outputs}
    kept = [value for value in copy.graph.outputs if value not in lost]
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(kept)
    for node in gone:
        for value in node.outputs:
            _open(copy.graph, value, lost)
    for node in reversed(gone):
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)
        copy.graph.remove(node)
        del origins[node]
    return copy, origins


def _open(graph: ir.Graph, value: ir.Value, lost: Collection[ir.Value]) -> None:
    """Let those who read ``value`` read a new input of its name."""
    producers = {maker for other in lost if (maker := other.producer()) is not None}
    uses = [use for use in value.uses() if use.node not in producers]
    if not uses:
        return
    fresh = ir.Value(name=value.name, shape=value.shape, type=value.type)
    graph.inputs.append(fresh)
    for use in uses:
        use.node.replace_input_with(use.idx, fresh)
    # The old value still exists until its node is removed; two of one name are not wanted.
    value.name = None


__all__ = ["cut_out"]
