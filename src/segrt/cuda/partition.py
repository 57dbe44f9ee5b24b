"""From an ONNX graph with fixed sizes to the engine's operations, or a refusal by layer name."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from segrt.cuda.operations import Export, Import, Operation, Program
from segrt.cuda.quantisation import SCALE
from segrt.cuda.readers import _base as readers
from segrt.cuda.readers._custom import read_custom
from segrt.errors import UnsupportedLayerError
from segrt.graph import custom_nodes, metadata


def partition(model: ir.Model) -> Program:
    """Read a graph whose sizes are all known.

    Raises:
        UnsupportedLayerError: The engine has no implementation for some layers; lists them all.
    """
    graph = model.graph
    outputs = tuple(value.name or "" for value in graph.outputs)
    operations: list[Operation] = []
    refused: list[tuple[str, str]] = []
    ends = dict.fromkeys(outputs)
    unknown = refusals(graph)
    for node in graph:
        layer = metadata.layer_of(node) or node.name or node.op_type
        if node in unknown:
            refused.append((layer, node.op_type))
        else:
            operations += _read(node, layer)
    operations = _ends(graph, operations, ends)
    refused += [(name, "not a batch of images") for name in outputs if _rank(graph, name) != 4]
    if refused:
        listed = ", ".join(f"{layer!r} ({kind})" for layer, kind in refused)
        raise UnsupportedLayerError(
            f"the CUDA engine has no implementation for: {listed}",
            refused,
            hint="build for another target",
        )
    shapes = {}
    for value in [*graph.inputs, *(out for node in graph for out in node.outputs)]:
        sizes = _sizes(value)
        if sizes is not None:
            shapes[value.name or ""] = sizes
    inputs = tuple(value.name or "" for value in graph.inputs)
    inner = _inner_shapes(operations, shapes)
    return Program(tuple(operations), inner, inputs, outputs, _scales(graph, inner))


def _scales(graph: ir.Graph, known: Mapping[str, object]) -> dict[str, float]:
    """Return the scales noted on values, by the names that operations know them by."""
    scales = {}
    for value in [*graph.inputs, *(out for node in graph for out in node.outputs)]:
        if SCALE in value.meta:
            name = value.name or ""
            inner = f"{name}:image"
            scales[inner if inner in known else name] = float(value.meta[SCALE])
    return scales


def refusals(graph: ir.Graph) -> dict[ir.Node, str]:
    """Return the nodes that the engine has no implementation for, and why.

    Args:
        graph: All sizes are known.
    """
    found = {}
    for node in graph:
        if _is_not_image(node):
            found[node] = "the CUDA engine computes batches of images, and its result is none"
        elif not _read(node, ""):
            found[node] = "the CUDA engine has no implementation of it with these settings"
    return found


def _is_not_image(node: ir.Node) -> bool:
    return any(_sizes(value) is None for value in node.outputs)


def _sizes(value: ir.Value) -> tuple[int, int, int, int] | None:
    """Return N C H W (or N H W C) of a batch of images whose sizes are all known."""
    sizes = [size for size in value.shape or () if isinstance(size, int)]
    if value.shape is None or len(sizes) != len(value.shape) or len(sizes) != 4:
        return None
    return sizes[0], sizes[1], sizes[2], sizes[3]


def _rank(graph: ir.Graph, name: str) -> int:
    value = next(value for value in graph.outputs if value.name == name)
    return len(value.shape or ())


def _read(node: ir.Node, layer: str) -> tuple[Operation, ...]:
    if custom_nodes.is_custom(node):
        found = read_custom(node, layer)
        return () if found is None else (found,)
    return readers.read(node, layer)


def _ends(
    graph: ir.Graph, operations: list[Operation], outputs: dict[str, None]
) -> list[Operation]:
    """Add imports and exports for graph values that are read or made channels first."""
    known = {value.name or "" for value in graph.inputs}
    moved = {operation.output for operation in operations if isinstance(operation, Export)}
    result: list[Operation] = []
    for name in known:
        readers = [op for op in operations if name in op.inputs and not isinstance(op, Import)]
        if readers or name in outputs:
            result.append(Import(name, (name,), f"{name}:image", channels_first=True))
    rename = {name: f"{name}:image" for name in known}
    for operation in operations:
        if not isinstance(operation, Import):
            names = tuple(rename.get(name, name) for name in operation.inputs)
            operation = _with(operation, inputs=names)  # noqa: PLW2901
        if operation.output in outputs and operation.output not in moved:
            inner = f"{operation.output}:image"
            rename[operation.output] = inner
            operation = _with(operation, output=inner)  # noqa: PLW2901
        result.append(operation)
    result += [
        Export(name, (rename.get(name, name),), name, channels_first=True)
        for name in outputs
        if name not in moved
    ]
    return result


def _with(operation: Operation, **changes: object) -> Operation:
    return type(operation)(**{**operation.__dict__, **changes})


def _inner_shapes(
    operations: list[Operation], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, int, int, int]]:
    """Return N C H W of every inner value; graph values may be channels last."""
    inner: dict[str, tuple[int, int, int, int]] = {}
    for operation in operations:
        if isinstance(operation, Import):
            n, a, b, c = shapes[operation.inputs[0]]
            inner[operation.output] = (n, a, b, c) if operation.channels_first else (n, c, a, b)
        elif isinstance(operation, Export):
            n, c, h, w = inner[operation.inputs[0]]
            inner[operation.output] = (n, c, h, w)
        else:
            n, c, h, w = shapes[operation.output.removesuffix(":image")]
            inner[operation.output] = (n, c, h, w)
    return inner
