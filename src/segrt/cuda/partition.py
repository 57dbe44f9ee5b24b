"""From an ONNX graph with fixed sizes to the engine's operations, or a refusal by layer name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from segrt.cuda.image_operations import Slices
from segrt.cuda.known_values import is_known, note_known_values
from segrt.cuda.layouts import images_among
from segrt.cuda.operations import Export, Import, Operation, Program
from segrt.cuda.quantisation import SCALE
from segrt.cuda.readers import _base as readers
from segrt.cuda.readers._custom import read_custom
from segrt.cuda.volumes import note_volumes
from segrt.errors import UnsupportedLayerError
from segrt.graph import custom_nodes, metadata


def partition(model: ir.Model) -> Program:
    """Read a graph whose sizes are all known.

    Raises:
        UnsupportedLayerError: The engine has no implementation for some layers; lists them all.
    """
    graph = model.graph
    outputs = tuple(value.name or "" for value in graph.outputs)
    inputs = tuple(value.name or "" for value in graph.inputs)
    unknown = refusals(graph)
    refused: list[tuple[str, str]] = []
    operations: list[Operation] = []
    for node in graph:
        layer = metadata.layer_of(node) or node.name or node.op_type
        if node in unknown:
            refused.append((layer, node.op_type))
        elif not is_known(node):
            operations += _read(node, layer)
    if refused:
        listed = ", ".join(f"{layer!r} ({kind})" for layer, kind in refused)
        raise UnsupportedLayerError(
            f"the CUDA engine has no implementation for: {listed}",
            refused,
            hint="build for another target",
        )
    shapes = _shapes(graph, operations)
    images = images_among(operations, shapes)
    own = {name: _unused(f"{name}:image", shapes) for name in (*inputs, *outputs)}
    operations = _ends(inputs, outputs, operations, own)
    names = {copy: name for name, copy in own.items()}
    inner = _inner_shapes(operations, shapes, names)
    dense = frozenset(name for name in inner if names.get(name, name) not in images)
    types, scales = {}, {}
    for value in _values(graph):
        copy = own.get(value.name or "", "")
        name, kind = copy if copy in inner else value.name or "", _own_type(value)
        if kind is not None:
            types[name] = kind
        if SCALE in value.meta:
            scales[name] = float(value.meta[SCALE])
    # Slices that only lie otherwise are numbers of the same scale.
    for operation in operations:
        if isinstance(operation, Slices) and operation.inputs[0] in scales:
            scales[operation.output] = scales[operation.inputs[0]]
    return Program(tuple(operations), inner, inputs, outputs, scales, dense, types)


def refusals(graph: ir.Graph) -> dict[ir.Node, str]:
    """Return the nodes that the engine has no implementation for, and why.

    Args:
        graph: All sizes are known; what is computed from these alone is noted on its values.
    """
    note_known_values(graph)
    note_volumes(graph, readers.VOLUMES.names())
    found = {}
    for node in graph:
        if is_known(node):
            continue
        if all(value.const_value is not None for value in node.outputs):
            found[node] = "the CUDA engine puts out nothing that is known before it runs"
        elif any(_sizes(value) is None for value in node.outputs):
            found[node] = "the CUDA engine has to know all sizes, and those of its result are not"
        elif not _read(node, ""):
            found[node] = "the CUDA engine has no implementation of it with these settings"
    return found


def _read(node: ir.Node, layer: str) -> tuple[Operation, ...]:
    if custom_nodes.is_custom(node):
        found = read_custom(node, layer)
        return () if found is None else (found,)
    return readers.read(node, layer)


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *(output for node in graph for output in node.outputs)]


def _sizes(value: ir.Value) -> tuple[int, ...] | None:
    """Return a value's sizes; None where one is not known or nothing is in it."""
    sizes = [size for size in value.shape or () if isinstance(size, int)]
    if value.shape is None or len(sizes) != len(value.shape) or 0 in sizes:
        return None
    return tuple(sizes)


def _shapes(graph: ir.Graph, operations: Sequence[Operation]) -> dict[str, tuple[int, ...]]:
    shapes = {op.output: op.sizes for op in operations if op.sizes is not None}
    for value in _values(graph):
        sizes = _sizes(value)
        if sizes is not None:
            shapes[value.name or ""] = sizes
    return shapes


def _own_type(value: ir.Value) -> str | None:
    """Return the element type of truth and of whole numbers, also of those that are cast to floats.

    Whole numbers are kept as fp32, which holds them exactly up to 2^24; so far places in images
    and sizes do not come near.
    """
    if value.dtype in (ir.DataType.BOOL, ir.DataType.UINT8):
        return "uint8"
    maker = value.producer()
    if maker is not None and maker.op_type == "Cast" and maker.inputs[0] is not None:
        kinds = (value.dtype, maker.inputs[0].dtype)
    else:
        kinds = (value.dtype, None)
    return "fp32" if any(kind is not None and kind.is_integer() for kind in kinds) else None


def _unused(name: str, taken: Mapping[str, object]) -> str:
    while name in taken:
        name += "+"
    return name


def _ends(
    inputs: Sequence[str],
    outputs: Sequence[str],
    operations: Sequence[Operation],
    own: Mapping[str, str],
) -> list[Operation]:
    """Add imports and exports for graph values that are read or made in the graph's order.

    Args:
        inputs: Of the graph.
        outputs: Of the graph.
        operations: On the graph's values.
        own: What the engine calls its own copies of inputs and outputs.
    """
    moved = {operation.output for operation in operations if isinstance(operation, Export)}
    result: list[Operation] = []
    for name in dict.fromkeys(inputs):
        readers = [op for op in operations if name in op.inputs and not isinstance(op, Import)]
        if readers or name in outputs:
            result.append(Import(name, (name,), own[name], channels_first=True))
    rename = {name: own[name] for name in inputs}
    for operation in operations:
        if not isinstance(operation, Import):
            names = tuple(rename.get(name, name) for name in operation.inputs)
            operation = replace(operation, inputs=names)  # noqa: PLW2901
        if operation.output in outputs and operation.output not in moved:
            rename[operation.output] = own[operation.output]
            operation = replace(operation, output=own[operation.output])  # noqa: PLW2901
        result.append(operation)
    result += [
        Export(name, (rename.get(name, name),), name, channels_first=True)
        for name in dict.fromkeys(outputs)
        if name not in moved
    ]
    return result


def _inner_shapes(
    operations: Sequence[Operation],
    shapes: Mapping[str, tuple[int, ...]],
    names: Mapping[str, str],
) -> dict[str, tuple[int, ...]]:
    """Return the shape of every inner value; graph values may be channels last."""
    inner: dict[str, tuple[int, ...]] = {}
    for operation in operations:
        if isinstance(operation, Import):
            first, sizes = operation.channels_first, shapes[operation.inputs[0]]
            inner[operation.output] = sizes if first else (sizes[0], sizes[-1], *sizes[1:-1])
        elif isinstance(operation, Export):
            inner[operation.output] = inner[operation.inputs[0]]
        else:
            inner[operation.output] = shapes[names.get(operation.output, operation.output)]
    return inner
