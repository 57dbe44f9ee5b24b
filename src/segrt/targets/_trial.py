"""Which nodes an engine takes that answers only by trying: all at once, then each alone."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from segrt.errors import EngineError, SegrtError
from segrt.targets._pieces import Runner, extract

_LONGEST_REASON = 200
_TRACES = (
    "--",
    "Summary",
    "Exception from",
    "Check '",
    "While validating",
    "FrontEnd API",
    "Model ",
)


def try_nodes(model: ir.Model, opener: Callable[[ir.Model], Runner]) -> dict[ir.Node, str | None]:
    """Open a graph, and if that fails its nodes one by one.

    Args:
        model: Not changed.
        opener: Opens a graph on the engine.

    Returns:
        Node -> why the engine refuses it, None where it takes it.

    Raises:
        EngineError: The engine refuses the graph, and no node of it alone.
    """
    table: dict[ir.Node, str | None] = dict.fromkeys(model.graph)
    whole = _problem(model, opener)
    if whole is None:
        return table
    known: dict[str, str | None] = {}
    for node in model.graph:
        key = _kind(node)
        if key not in known:
            error = _problem(extract(model, [node]), opener)
            known[key] = None if error is None else _words(error)
        table[node] = known[key]
    if not any(table.values()):
        raise whole
    return table


def _problem(model: ir.Model, opener: Callable[[ir.Model], Runner]) -> EngineError | None:
    try:
        opener(model).close()
    except EngineError as error:
        return error
    return None


def _kind(node: ir.Node) -> str:
    """Return what nodes have in common that are taken or refused alike."""
    inputs = [
        "" if value is None else f"{value.dtype} {value.shape} {value.is_initializer()}"
        for value in node.inputs
    ]
    settings = sorted(str(attribute) for attribute in node.attributes.values())
    return f"{node.domain}::{node.op_type} {inputs} {settings}"


def _words(error: SegrtError) -> str:
    """Return the last line the engine said that is no trace of where it was said."""
    lines = [line.strip() for line in (error.found or error.message).splitlines()]
    told = [line for line in lines if line and not line.startswith(_TRACES)]
    text = (told or [error.message])[-1]
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 3]}..."


__all__ = ["try_nodes"]
