"""Say in one operator what a graph says in several, and move what costs least at its ends.

What comes out is for the engine's readers alone: it need not be a graph that others would take.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segrt.cuda.graph_edits import (
    constant_value,
    node_like,
    only_reader,
    put_for,
    remove_unread,
    sizes_of,
)
from segrt.cuda.readers._base import constant, number
from segrt.cuda.transposes import cast_first, transpose_first


def recognise(model: ir.Model) -> ir.Model:
    """Return a copy in fewer words; all sizes are known."""
    made = model.clone()
    for node in list(made.graph):
        if node.op_type == "InstanceNormalization":
            _group_normalisation(made.graph, node)
        elif node.op_type == "Cast":
            cast_first(made.graph, node)
    for value in made.graph.inputs:
        transpose_first(made.graph, value)
    return made


def _group_normalisation(graph: ir.Graph, node: ir.Node) -> None:
    """Turn images reshaped to their groups, normalized, and reshaped back, into one operator."""
    before = None if node.inputs[0] is None else node.inputs[0].producer()
    after = only_reader(node.outputs[0])
    if before is None or after is None or {before.op_type, after.op_type} != {"Reshape"}:
        return
    scale, shift = constant(node.inputs[1]), constant(node.inputs[2])
    source, grouped = sizes_of(before.inputs[0]), sizes_of(before.outputs[0])
    if scale is None or shift is None or len(source) not in (4, 5) or len(grouped) != 3:
        return
    if sizes_of(after.outputs[0]) != source or grouped[0] != source[0] or source[1] % grouped[1]:
        return
    affine = [
        constant_value(graph, f"{node.name}:{role}", np.repeat(array, source[1] // grouped[1]))
        for role, array in (("scale", scale), ("shift", shift))
    ]
    settings = {"num_groups": grouped[1], "epsilon": number(node, "epsilon", 1e-5)}
    inputs = [before.inputs[0], *affine]
    put_for(graph, node_like(node, "GroupNormalization", inputs, settings), after)
    remove_unread(graph, node, before)
