"""Regions of nodes that work in any layout, entered through Transposes.

With ``P`` the permutation of the Transposes that enter the region, every value inside it is
``old = new.transpose(P)`` afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from segrt.errors import PassError
from segrt.passes._rewrite import constant_array

UNARY = frozenset(
    [
        "Abs",
        "Cast",
        "Ceil",
        "Celu",
        "Clip",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Reciprocal",
        "Relu",
        "Selu",
        "Sigmoid",
        "Sign",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tanh",
        "ThresholdedRelu",
    ]
)
BROADCAST = frozenset(
    ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "Sum", "Mean", "Where"]
)
REDUCE = frozenset(["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceProd"])
AXIS = frozenset(("Concat", "Softmax", "LogSoftmax"))

Perm = tuple[int, ...]


def permutation(node: ir.Node) -> Perm:
    """Return the permutation of a Transpose (reversed order by default).

    Raises:
        PassError: Neither it nor the rank is known.
    """
    perm = node.attributes.get("perm")
    if perm is not None:
        return tuple(perm.as_ints())
    value = node.inputs[0]
    if value is None or value.shape is None:
        raise PassError(f"the permutation of {node.name!r} is unknown")
    return tuple(reversed(range(len(value.shape))))


def inverse(perm: Perm) -> Perm:
    """Return the permutation that undoes ``perm``."""
    return tuple(int(axis) for axis in np.argsort(perm))


@dataclass(slots=True)
class Region:
    """Connected nodes that would compute the same in another layout.

    Attributes:
        perm: ``P`` of the Transposes at its entries.
        nodes: In topological order.
        entries: Values that enter it from such a Transpose.
        others: Values that enter it from elsewhere, and would need a Transpose.
        exits: Transposes that read its values and undo ``P``.
        kept: Values that others read too, and would need a Transpose.
    """

    perm: Perm
    nodes: dict[ir.Node, None] = field(default_factory=dict)
    entries: dict[ir.Value, None] = field(default_factory=dict)
    others: dict[ir.Value, None] = field(default_factory=dict)
    exits: dict[ir.Node, None] = field(default_factory=dict)
    kept: dict[ir.Value, None] = field(default_factory=dict)

    def gain(self) -> int:
        """Return how many Transposes fewer there would be."""
        gone = [
            value
            for value in self.entries
            if not value.is_graph_output() and all(use.node in self.nodes for use in value.uses())
        ]
        return len(gone) + len(self.exits) - len(self.others) - len(self.kept)


def find_region(transpose: ir.Node) -> Region | None:
    """Return the region behind a Transpose, None if what reads it depends on the layout."""
    region = Region(permutation(transpose))
    queue = [use.node for use in transpose.outputs[0].uses()]
    while queue:
        node = queue.pop()
        if node in region.nodes or not _is_free(node, region.perm):
            continue
        region.nodes[node] = None
        for value in tensor_inputs(node):
            producer = value.producer()
            if producer is not None:
                queue.append(producer)
        queue += [use.node for use in node.outputs[0].uses()]
    if not region.nodes:
        return None
    graph = transpose.graph
    if isinstance(graph, ir.Graph):
        region.nodes = {node: None for node in graph if node in region.nodes}
    _find_border(region)
    return region


def _find_border(region: Region) -> None:
    for node in region.nodes:
        for value in tensor_inputs(node):
            producer = value.producer()
            if producer in region.nodes:
                continue
            enters = producer is not None and _is_transpose(producer, region.perm)
            (region.entries if enters else region.others)[value] = None
        output = node.outputs[0]
        readers = [use.node for use in output.uses() if use.node not in region.nodes]
        undo = [reader for reader in readers if _is_transpose(reader, inverse(region.perm))]
        region.exits.update(dict.fromkeys(undo))
        # A graph output behind a Transpose that would vanish needs it back: no gain, no loss.
        if len(undo) < len(readers) or output.is_graph_output():
            region.kept[output] = None


def _is_transpose(node: ir.Node, perm: Perm) -> bool:
    return node.op_type == "Transpose" and node.domain == "" and permutation(node) == perm


def tensor_inputs(node: ir.Node) -> list[ir.Value]:
    """Return the inputs that follow the layout and are no constants."""
    inputs = node.inputs[:1] if node.op_type in UNARY | REDUCE else node.inputs
    return [value for value in inputs if value is not None and value.const_value is None]


def _is_free(node: ir.Node, perm: Perm) -> bool:
    rank = len(perm)
    if node.domain != "" or len(node.outputs) != 1 or node.outputs[0].shape is None:
        return False
    if len(node.outputs[0].shape) != rank:
        return False
    if node.op_type in UNARY:
        return True
    ranks = [len(v.shape) if v.shape is not None else -1 for v in tensor_inputs(node)]
    if node.op_type in BROADCAST or node.op_type == "Concat":
        constants = [constant_array(value) for value in node.inputs]
        fits = all(array is None or array.ndim <= rank for array in constants)
        whole = node.op_type != "Concat" or all(array is None for array in constants)
        return fits and whole and bool(ranks) and all(r == rank for r in ranks)
    if node.op_type in REDUCE:
        keeps = node.attributes.get("keepdims")
        axes = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
        return ranks == [rank] and axes is not None and (keeps is None or bool(keeps.as_int()))
    return node.op_type in AXIS and ranks == [rank]
