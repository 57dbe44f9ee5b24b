"""Change a graph at one place, in a way that can be taken back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.errors import PassError
from segrt.graph import metadata
from segrt.graph.builder import AttributeValue, GraphBuilder
from segrt.graph.custom_ops import CustomOp


class Rewriter(GraphBuilder):
    """A builder that inserts before a node, and remembers what it made until `commit`.

    Args:
        graph: The graph to change.
    """

    def __init__(self, graph: ir.Graph) -> None:
        super().__init__(graph)
        self._before: ir.Node | None = None
        self._nodes: list[ir.Node] = []
        self._constants: list[ir.Value] = []
        for node in graph:
            self._taken.add(node.name)
            self._taken |= {output.name for output in node.outputs}

    def at(self, node: ir.Node) -> Rewriter:
        """Insert what comes next before ``node``; forget what was made before."""
        self.commit()
        return self.before(node)

    def before(self, node: ir.Node) -> Rewriter:
        """Insert what comes next before ``node``, as part of the same change."""
        self._before = node
        return self

    def ops(
        self,
        op_type: str | CustomOp,
        inputs: Sequence[ir.Value | None],
        *,
        name: str,
        outputs: int,
        **attributes: AttributeValue,
    ) -> Sequence[ir.Value]:
        """Insert a node with several outputs; see `GraphBuilder.ops`."""
        values = super().ops(op_type, inputs, name=name, outputs=outputs, **attributes)
        node = values[0].producer()
        if node is None:  # pragma: no cover - the builder has just made it
            raise RuntimeError("a new value has no producer")
        if self._before is not None:
            self.graph.remove(node)
            self.graph.insert_before(self._before, node)
        self._nodes.append(node)
        return values

    def constant(self, name: str, array: npt.ArrayLike) -> ir.Value:
        """Append an initializer; see `GraphBuilder.constant`."""
        value = super().constant(name, array)
        self._constants.append(value)
        return value

    def ints(self, name: str, numbers: Sequence[int]) -> ir.Value:
        """Append an int64 vector."""
        return self.constant(name, np.asarray(numbers, dtype=np.int64))

    def tag(self, layer: str, class_name: str) -> None:
        """Tag the nodes made since `at` as belonging to a Keras layer."""
        for node in self._nodes:
            if layer and not metadata.layer_of(node):
                metadata.tag_node(node, layer, class_name)

    def commit(self) -> None:
        """Keep what was made."""
        self._nodes, self._constants = [], []

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Keep what is made inside; take it back, and nothing older, if it is refused.

        Raises:
            PassError: What was raised inside.
        """
        self.commit()
        try:
            yield
        except PassError:
            self.rollback()
            raise
        self.commit()

    def rollback(self) -> None:
        """Take back what was made since `at` or `commit`; nothing else may use it."""
        for node in reversed(self._nodes):
            self.graph.remove(node, safe=True)
            self._taken -= {node.name, *(output.name for output in node.outputs)}
        for value in self._constants:
            if value.name is not None:
                self.graph.initializers.pop(value.name, None)
                self._taken.discard(value.name)
        self.commit()


def refusal(error: PassError) -> str:
    """Return why a rewrite was refused, in one line."""
    return f"{error.message}: {error.found}" if error.found else error.message


def constant_array(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """Return the array of an initializer, None for anything else."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def only_consumer(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads ``value``, None if others or the outside read it too."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    return uses[0].node


def replace(old: ir.Value, new: ir.Value) -> None:
    """Put ``new`` in the place of ``old``: uses, graph outputs, name and tags; drop dead nodes.

    ``new`` must hold the same array as ``old``.
    """
    node = old.producer()
    metadata.move_tags(old, new)
    if new.shape is None:
        new.shape = old.shape
    if new.type is None:
        new.type = old.type
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    name, old.name = old.name, None
    if node is not None:
        prune(node)
    new.name = name
    maker = new.producer()
    if node is not None and node.graph is None and maker is not None:
        maker.name = node.name


def prune(node: ir.Node) -> None:
    """Remove ``node``, and what only it needed; a node that carries a Keras value stays."""
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        return
    stack = [node]
    while stack:
        current = stack.pop()
        dead = not any(
            value.uses() or value.is_graph_output() or metadata.keras_name(value)
            for value in current.outputs
        )
        if current.graph is not graph or not dead:
            continue
        inputs = [value for value in current.inputs if value is not None]
        graph.remove(current, safe=True)
        for value in inputs:
            producer = value.producer()
            if producer is not None:
                stack.append(producer)
            elif value.is_initializer() and not value.uses() and not value.is_graph_output():
                graph.initializers.pop(value.name or "", None)


def subject_of(value: ir.Value) -> str:
    """Return what to call a value before a user: its Keras name, its layer's, or its own."""
    node = value.producer()
    layer = metadata.layer_of(node) if node is not None else ""
    return metadata.keras_name(value) or layer or value.name or "?"


def nodes_of(graph: ir.Graph, *op_types: str) -> Iterator[ir.Node]:
    """Yield the nodes of these types as they were at the call, those since removed left out."""
    for node in list(graph):
        if node.domain == "" and node.op_type in op_types and node.graph is graph:
            yield node
