"""From an ONNX graph with fixed sizes to the engine's operations, or a refusal by layer name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from segrt.cuda._steps import constant, read_chain
from segrt.cuda.operations import (
    Convolution,
    Custom,
    Export,
    Import,
    Join,
    Operation,
    Pair,
    Pool,
    Program,
    Shuffle,
    TransposedConvolution,
    Upsample,
)
from segrt.cuda.quantisation import SCALE, WEIGHT_SCALES
from segrt.errors import UnsupportedLayerError
from segrt.graph import custom_nodes, metadata

_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


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
        operation = None if node in unknown else _read(node, layer)
        if operation is None:
            refused.append((layer, node.op_type))
            continue
        operations.append(operation)
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
        elif _read(node, "") is None:
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


def _read(node: ir.Node, layer: str) -> Operation | None:
    if custom_nodes.is_custom(node):
        return _custom(node, layer)
    reader = _READERS.get(node.op_type)
    return reader(node, layer) if reader is not None else read_chain(node, layer)


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


def _names(node: ir.Node) -> tuple[tuple[str, ...], str]:
    return (node.inputs[0].name or "" if node.inputs[0] else "",), node.outputs[0].name or ""


def _ints(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(node.attributes[name].as_ints()) if name in node.attributes else default


def _int(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _text(node: ir.Node, name: str, default: str) -> str:
    return node.attributes[name].as_string() if name in node.attributes else default


def _pair(values: tuple[int, ...]) -> Pair:
    return values[0], values[1]


def _transpose(node: ir.Node, layer: str) -> Operation | None:
    names, output = _names(node)
    perm, value = _ints(node, "perm", ()), node.inputs[0]
    if perm == _TO_FIRST and value is not None and value.is_graph_input():
        return Import(layer, names, output, channels_first=False)
    if perm == _TO_LAST and node.outputs[0].is_graph_output():
        return Export(layer, names, output, channels_first=False)
    return None


def _padding(node: ir.Node) -> tuple[Pair, Pair] | None:
    if _text(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    pads = _ints(node, "pads", (0, 0, 0, 0))
    return _pair(pads), _pair(pads[2:])


def _convolution(node: ir.Node, layer: str) -> Operation | None:
    names, output = _names(node)
    kernel, padding = constant(node.inputs[1]), _padding(node)
    if kernel is None or padding is None:
        return None
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    groups = _int(node, "group", 1)
    transposed = node.op_type == "ConvTranspose"
    outputs = kernel.shape[1] * groups if transposed else kernel.shape[0]
    kind = TransposedConvolution if transposed else Convolution
    found: Operation = kind(
        layer,
        names,
        output,
        kernel.astype(np.float32),
        np.zeros(outputs, np.float32) if bias is None else bias.astype(np.float32),
        _pair(_ints(node, "strides", (1, 1))),
        _pair(_ints(node, "dilations", (1, 1))),
        *padding,
        groups,
    )
    scales = node.meta.get(WEIGHT_SCALES)
    return found if scales is None else _with(found, scales=scales)


def _resize(node: ir.Node, layer: str) -> Operation | None:
    names, output = _names(node)
    source, target = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or target.shape is None:
        return None
    before, after = source.shape.numpy(), target.shape.numpy()
    factors = (after[2] // before[2], after[3] // before[3])
    whole = (before[2] * factors[0], before[3] * factors[1]) == tuple(after[2:])
    transform = _text(node, "coordinate_transformation_mode", "half_pixel")
    mode, rounding = _text(node, "mode", "nearest"), _text(node, "nearest_mode", "")
    if not whole or before[:2] != after[:2]:
        return None
    if mode == "nearest" and transform == "asymmetric" and rounding == "floor":
        return Upsample(layer, names, output, factors, "nearest")
    if mode == "linear" and transform == "half_pixel":
        return Upsample(layer, names, output, factors, "bilinear")
    return None


def _pool(node: ir.Node, layer: str) -> Operation | None:
    names, output = _names(node)
    padding = _padding(node)
    window = _pair(_ints(node, "kernel_shape", (1, 1)))
    plain = _ints(node, "dilations", (1, 1)) == (1, 1) and len(node.outputs) == 1
    counts = bool(_int(node, "count_include_pad", 0))
    # With both, the last window's size depends on how far it overhangs.
    if padding is None or not plain or (counts and _int(node, "ceil_mode", 0)):
        return None
    stride = _pair(_ints(node, "strides", (1, 1)))
    maximum = node.op_type == "MaxPool"
    return Pool(layer, names, output, window, stride, padding[0], maximum, counts)


def _shuffle(node: ir.Node, layer: str) -> Operation | None:
    names, output = _names(node)
    phase_first = _text(node, "mode", "DCR") == "DCR"
    return Shuffle(layer, names, output, _int(node, "blocksize", 1), phase_first)


def _join(node: ir.Node, layer: str) -> Operation | None:
    if _int(node, "axis", 0) not in (1, -3):
        return None
    names = tuple(value.name or "" for value in node.inputs if value is not None)
    if any(constant(value) is not None for value in node.inputs):
        return None
    return Join(layer, names, node.outputs[0].name or "")


def _custom(node: ir.Node, layer: str) -> Operation | None:
    """Read a custom operation: each input an image or a constant, at least one an image."""
    arrays = [constant(value) for value in node.inputs]
    images = [value for value, array in zip(node.inputs, arrays, strict=True) if array is None]
    if not images or any(value is None or len(value.shape or ()) != 4 for value in images):
        return None
    return Custom(
        layer,
        tuple(str(value.name) for value in images if value is not None),
        node.outputs[0].name or "",
        custom_nodes.operation_of(node),
        custom_nodes.attributes_of(node),
        {index: array for index, array in enumerate(arrays) if array is not None},
    )


_READERS: dict[str, Callable[[ir.Node, str], Operation | None]] = {
    "Transpose": _transpose,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Resize": _resize,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "DepthToSpace": _shuffle,
    "Concat": _join,
}
