"""Part of the script `_tensorflow_child`: takes training out of a TensorFlow 1 graph.

Keras under TensorFlow 1 wrote both ways through dropout and batch normalization into the graph,
parted by Switch and joined by Merge, and fed a learning phase to choose. At inference the phase is
false: what hangs on the other way is dead, and Switch and Merge only pass on.
Imports nothing of this project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

_PHASE = "keras_learning_phase"
_JOIN, _PART = ("Merge", "RefMerge"), ("Switch", "RefSwitch")
_DT_BOOL = 10
Truths = list[bool | None]


def _first(given: Truths) -> bool | None:
    return given[0]


def _not(given: Truths) -> bool | None:
    return None if given[0] is None else not given[0]


def _all(given: Truths) -> bool | None:
    return False if False in given else None if None in given else True


def _any(given: Truths) -> bool | None:
    return True if True in given else None if None in given else False


_LOGIC: dict[str, Callable[[Truths], bool | None]] = {
    "LogicalNot": _not,
    "LogicalAnd": _all,
    "LogicalOr": _any,
    **dict.fromkeys(("Identity", "PlaceholderWithDefault", *_PART), _first),
}


def settle(graph: Any) -> None:
    """Decide every branch that hangs on the learning phase, in place.

    Branches and loops whose condition is computed from the network's input stay as they are.

    Args:
        graph: A ``GraphDef``; `SavedModel`'s or frozen.
    """
    nodes = {node.name: node for node in graph.node}
    if not any(node.op in _PART for node in graph.node):
        return
    order = _sorted(nodes)
    truth: dict[str, bool] = {}
    for name in order:
        known = _truth(nodes[name], truth)
        if known is not None:
            truth[name] = known
    dead: set[str] = set()
    taken: dict[str, int] = {}  # Switch -> the output that is alive
    for name in order:
        _spread(nodes[name], truth, dead, taken)
    for name in order:
        _rewrite(nodes[name], dead, taken)
    kept = [node for node in graph.node if node.name not in dead]
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    for node in copies:  # noted for the graph as it was
        node.attr.pop("_output_shapes", None)
    del graph.node[:]
    graph.node.extend(copies)


def is_phase(node: Any) -> bool:
    """Say whether a node is Keras' learning phase."""
    named = node.name.rpartition("/")[2].startswith(_PHASE)
    return named and node.op in ("Placeholder", "PlaceholderWithDefault")


def _sorted(nodes: dict[str, Any]) -> list[str]:
    """Return the names so that inputs come first; a loop's way back is not followed."""
    order: list[str] = []
    seen: set[str] = set()
    for start in nodes:
        stack = [(start, False)]
        while stack:
            name, done = stack.pop()
            if done:
                order.append(name)
            elif name in nodes and name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack += [(_node(item), False) for item in nodes[name].input]
    return order


def _truth(node: Any, truth: dict[str, bool]) -> bool | None:
    """Return what a truth value is at inference; None where the network computes it."""
    if is_phase(node):
        return False
    if node.op == "Const" and node.attr["dtype"].type == _DT_BOOL:
        values = node.attr["value"].tensor.bool_val
        return bool(values[0]) if len(values) == 1 else None
    given = [truth.get(_node(item)) for item in _data(node)]
    decide = _LOGIC.get(node.op)
    return decide(given) if decide is not None and given else None


def _spread(node: Any, truth: dict[str, bool], dead: set[str], taken: dict[str, int]) -> None:
    """Note whether a node is dead, and which way a Switch goes."""
    alive = [item for item in _data(node) if not _is_dead(item, dead, taken)]
    gone = len(alive) < len(_data(node))
    if gone and (node.op not in _JOIN or not alive):
        dead.add(node.name)
        return
    if node.op in _PART:
        condition = truth.get(_node(node.input[1]))
        if condition is not None:
            taken[node.name] = int(condition)


def _is_dead(item: str, dead: set[str], taken: dict[str, int]) -> bool:
    name, _, output = item.partition(":")
    return name in dead or (name in taken and int(output or 0) != taken[name])


def _rewrite(node: Any, dead: set[str], taken: dict[str, int]) -> None:
    """Let a node read what is alive; a decided Switch or Merge becomes an Identity."""
    if node.name in dead:
        return
    alive = [item for item in _data(node) if not _is_dead(item, dead, taken)]
    order = [item for item in node.input if item.startswith("^") and item[1:] not in dead]
    if node.name in taken:
        alive = alive[:1]
    if node.name in taken or (node.op in _JOIN and len(alive) == 1):
        node.op = "Identity"
        for attribute in set(node.attr) - {"T"}:
            del node.attr[attribute]
    del node.input[:]
    node.input.extend([*(_passed(item, taken) for item in alive), *order])


def _passed(item: str, taken: dict[str, int]) -> str:
    """Return a tensor's name; what a decided Switch returns is its only output now."""
    name = _node(item)
    return name if name in taken else item


def _data(node: Any) -> list[str]:
    return [item for item in node.input if not item.startswith("^")]


def _node(item: str) -> str:
    return item.lstrip("^").partition(":")[0]


def names_of_phases(nodes: Iterable[Any]) -> set[str]:
    """Return the names of the learning phases among nodes."""
    return {node.name for node in nodes if is_phase(node)}
