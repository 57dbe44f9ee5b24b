"""Which layer is to blame: every layer's own error, apart from what it inherits.

The graph is cut behind every Keras value that the reference knows: whoever used that value gets a
new graph input instead. What is left are islands, one a layer, that no longer depend on one
another; fed with the reference's values, each shows the error that its own layer makes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt
import onnx_ir as ir

from segrt.verification._inner import InnerValues, Opener
from segrt.verification.candidate import Located, to_stored
from segrt.verification.reference import Reference
from segrt.verification.tolerance import kind_of_layer

Array: TypeAlias = npt.NDArray[Any]

_SUFFIX = ":reference"


@dataclass(frozen=True, slots=True)
class Feed:
    """A new graph input that takes a reference's value.

    Attributes:
        keras: The Keras value it takes.
        to_source: Permutation from how it is stored into the source's layout.
        original: ONNX name of the value it stands for.
    """

    keras: str
    to_source: tuple[int, ...] | None
    original: str


@dataclass(frozen=True, slots=True)
class Islands:
    """A graph cut behind every known value.

    Attributes:
        model: The cut graph; its old outputs are gone, inner values are asked for by name.
        feeds: What the new inputs take, by input name.
        needs: By ONNX value name of each Keras value: the inputs its island has.
        kinds: By ONNX value name: ``movement`` or ``arithmetic``, by the nodes of its island.
    """

    model: ir.Model
    feeds: dict[str, Feed]
    needs: dict[str, tuple[str, ...]]
    kinds: dict[str, str]


def cut(model: ir.Model, places: Mapping[str, Located], known: Collection[str]) -> Islands:
    """Cut a graph behind every Keras value whose name is in ``known``.

    Args:
        model: Not changed.
        places: Its Keras values.
        known: Names the reference can deliver.
    """
    copy = model.clone()
    values = ir.convenience.create_value_mapping(copy.graph, include_subgraphs=False)
    feeds: dict[str, Feed] = {}
    for keras, place in places.items():
        value = values[place.value]
        if keras in known and place.recovery is None and not value.is_graph_input():
            _cut_behind(copy.graph, value, keras, place.to_source, feeds)
            _cut_before_layout(copy.graph, value, keras, place.to_source, feeds)
    needs, kinds = {}, {}
    for place in places.values():
        inputs, nodes = _island(values[place.value])
        needs[place.value] = tuple(inputs)
        kinds[place.value] = kind_of_layer((node.op_type, _mode(node)) for node in nodes)
    copy.graph.outputs.clear()
    return Islands(copy, feeds, needs, kinds)


class OwnErrors:
    """Runs islands on what the reference computed.

    Args:
        islands: The cut graph.
        opener: Opens a graph on the package's own target.
        budget_bytes: The most bytes of inputs and outputs of one run.
    """

    def __init__(self, islands: Islands, opener: Opener, budget_bytes: int) -> None:
        self._islands = islands
        self._inner = InnerValues(islands.model, opener, budget_bytes)

    def groups(self, places: Collection[str], sizes: Mapping[str, int | None]) -> list[list[str]]:
        """Split ONNX value names into groups that fit into memory with all they are fed with.

        Args:
            places: ONNX value names.
            sizes: Bytes of the uncut graph's values.
        """
        feeds = self._islands.feeds
        costs: dict[str, int | None] = {}
        for name in places:
            parts = [name, *(feeds[i].original if i in feeds else i for i in self._needs(name))]
            known = [sizes.get(part) for part in parts]
            costs[name] = None if None in known else sum(size or 0 for size in known)
        return self._inner.groups(places, costs)

    def fetch(
        self, group: Collection[str], reference: Reference, inputs: Mapping[str, Array], rows: slice
    ) -> dict[str, Array]:
        """Run the islands of some values and return the values as the graph stores them.

        Args:
            group: ONNX value names.
            reference: Gives what the new inputs take.
            inputs: Gives what the true inputs take.
            rows: Which images.
        """
        needed = {name for value in group for name in self._needs(value)}
        arrays = {name: array[rows] for name, array in inputs.items()}
        for keras, array in reference.fetch(
            {self._islands.feeds[name].keras for name in needed if name in self._islands.feeds},
            rows,
        ):
            for name in needed & self._islands.feeds.keys():
                feed = self._islands.feeds[name]
                if feed.keras == keras:
                    arrays[name] = to_stored(array, feed.to_source)
        return self._inner.fetch(group, arrays)

    def close(self) -> None:
        """Free the open session."""
        self._inner.close()

    def _needs(self, name: str) -> tuple[str, ...]:
        return self._islands.needs[name]


def _cut_behind(
    graph: ir.Graph,
    value: ir.Value,
    keras: str,
    axes: tuple[int, ...] | None,
    feeds: dict[str, Feed],
    *,
    but: ir.Node | None = None,
) -> None:
    """Give all users of ``value``, except the node ``but``, a new graph input in its place."""
    users = [(node, index) for node, index in value.uses() if node is not but]
    if not users:
        return
    name = f"{value.name}{_SUFFIX}"
    fresh = ir.Value(name=name, shape=_copy_shape(value), type=value.type)
    graph.inputs.append(fresh)
    for node, index in users:
        node.replace_input_with(index, fresh)
    feeds[name] = Feed(keras, axes, str(value.name))


def _cut_before_layout(
    graph: ir.Graph,
    value: ir.Value,
    keras: str,
    axes: tuple[int, ...] | None,
    feeds: dict[str, Feed],
) -> None:
    """Cut the value that ``value`` is a mere Transpose of, too.

    A graph output in the source's layout carries the layer's name, while other layers may go on
    from the same numbers before the Transpose; without this their islands would reach through.
    """
    node = value.producer()
    if node is None or node.op_type != "Transpose" or node.inputs[0] is None:
        return
    stored = node.inputs[0]
    perm = node.attributes["perm"].as_ints() if "perm" in node.attributes else None
    if perm is None or stored.is_graph_input() or str(stored.name) in _originals(feeds):
        return
    whole = tuple(perm) if axes is None else tuple(perm[axis] for axis in axes)
    _cut_behind(graph, stored, keras, whole, feeds, but=node)


def _originals(feeds: Mapping[str, Feed]) -> set[str]:
    return {feed.original for feed in feeds.values()}


def _copy_shape(value: ir.Value) -> ir.Shape | None:
    return None if value.shape is None else value.shape.copy()


def _island(value: ir.Value) -> tuple[list[str], list[ir.Node]]:
    """Return the graph inputs a value depends on, and the nodes on the way."""
    inputs: dict[str, None] = {}
    nodes: dict[ir.Node, None] = {}
    stack = [value]
    while stack:
        current = stack.pop()
        node = current.producer()
        if node is None:
            if current.is_graph_input():
                inputs[str(current.name)] = None
        elif node not in nodes:
            nodes[node] = None
            stack.extend(source for source in _sources(node))
    return list(inputs), list(nodes)


def _sources(node: ir.Node) -> Iterator[ir.Value]:
    yield from (source for source in node.inputs if source is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            inner = attribute.as_graph()
            for child in inner:
                yield from (s for s in child.inputs if s is not None and s.graph is not inner)


def _mode(node: ir.Node) -> str:
    return node.attributes["mode"].as_string() if "mode" in node.attributes else ""
