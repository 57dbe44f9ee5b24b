"""Read explicit quantisation out of a graph: what is left says in words what it was.

A pair of QuantizeLinear and DequantizeLinear on an activation goes, and the value in front of it
carries the scale; dequantised weights become float constants, and their readers carry the scales.
So the rest of the engine reads a plain graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from segrt.cuda.readers._base import constant, integer
from segrt.errors import UnsupportedLayerError, UsageError
from segrt.graph import metadata

# Keys of `ir.Value.meta` (a number) and of `ir.Node.meta` (one number an output channel).
SCALE, WEIGHT_SCALES = "segrt.cuda.scale", "segrt.cuda.weight_scales"
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def is_quantised(model: ir.Model) -> bool:
    """Say whether a graph carries explicit quantisation."""
    return any(node.op_type == _QUANTIZE for node in model.graph)


def check_quantisation(model: ir.Model, *, integers: bool) -> None:
    """Make sure that a graph is quantised if and only if it is to be computed in integers.

    Raises:
        UsageError: It is the other way round.
    """
    if integers and not is_quantised(model):
        raise UsageError(
            "the graph carries no quantisation",
            wanted="QuantizeLinear and DequantizeLinear on activations and weights",
            hint="quantise it first, or build in another precision",
        )
    if is_quantised(model) and not integers:
        raise UsageError(
            "the graph is quantised", wanted="precision int8", hint="build with --precision int8"
        )


def read_quantisation(model: ir.Model) -> ir.Model:
    """Return a copy without explicit quantisation, with scales as notes on values and nodes.

    Raises:
        UsageError: There is none.
        UnsupportedLayerError: It is not symmetric in eight bits with one scale an activation.
    """
    check_quantisation(model, integers=True)
    plain = model.clone()
    for node in list(plain.graph):
        if node.op_type == _DEQUANTIZE:
            _read(plain.graph, node)
    for node in reversed(list(plain.graph)):
        if node.op_type in (_QUANTIZE, _DEQUANTIZE) and not _is_used(node):
            plain.graph.remove(node, safe=True)
    return plain


def _is_used(node: ir.Node) -> bool:
    return any(output.uses() or output.is_graph_output() for output in node.outputs)


def _read(graph: ir.Graph, node: ir.Node) -> None:
    source = node.inputs[0]
    if constant(source) is not None:
        _read_weights(graph, node)
        return
    before = source.producer() if source is not None else None
    if before is None or before.op_type != _QUANTIZE or before.inputs[0] is None:
        raise _refusal(node, "it reads integers that no QuantizeLinear makes")
    scale = _activation_scale(before)
    if scale != _activation_scale(node):
        raise _refusal(node, "its scale is another one than that of the QuantizeLinear before it")
    _read_activation(graph, node, before.inputs[0], scale)


def _read_weights(graph: ir.Graph, node: ir.Node) -> None:
    """Compute dequantised weights; note per-output scales where readers can use the integers."""
    integers, scale = constant(node.inputs[0]), constant(node.inputs[1])
    if integers is None or scale is None or _has_zero_point(node):
        raise _refusal(node, "its weights are not symmetric")
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
    shape = [1] * integers.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    output = node.outputs[0]
    values = integers.astype(np.float32) * scale.astype(np.float32).reshape(shape)
    name, output.name = output.name, None
    folded = ir.Value(name=name, const_value=ir.tensor(values, name=name))
    folded.shape, folded.dtype = ir.Shape(values.shape), ir.DataType.FLOAT
    graph.register_initializer(folded)
    whole = scale.size == 1 or (axis == 0 and scale.size == integers.shape[0])
    turned = scale.size == 1 or (axis == 1 and scale.size == integers.shape[1])
    for reader, index in list(output.uses()):
        if index != 1 or integers.dtype != np.int8:
            continue
        if reader.op_type == "Conv" and whole:
            reader.meta[WEIGHT_SCALES] = _spread(scale, integers.shape[0])
        # In groups the second axis is not that of all outputs.
        if reader.op_type == "ConvTranspose" and turned and integer(reader, "group", 1) == 1:
            reader.meta[WEIGHT_SCALES] = _spread(scale, integers.shape[1])
    output.replace_all_uses_with(folded)


def _spread(scale: npt.NDArray[Any], outputs: int) -> npt.NDArray[np.float32]:
    return np.broadcast_to(scale.reshape(-1), (outputs,)).astype(np.float32)


def _read_activation(graph: ir.Graph, node: ir.Node, source: ir.Value, scale: float) -> None:
    output = node.outputs[0]
    if output.is_graph_output():
        _end(graph, output, source)
        return
    known = source.meta.get(SCALE)
    alone = known is None and not source.is_graph_output() and _only_quantised(source, scale)
    if alone or known == scale:
        source.meta[SCALE] = scale
        output.replace_all_uses_with(source)
        return
    # Others read the value as it is: it is kept both ways.
    copy = ir.node("Identity", [source], name=f"{source.name}:quantised")
    value = copy.outputs[0]
    value.name = f"{output.name}:int8"
    value.shape, value.type = source.shape, source.type
    value.meta[SCALE] = scale
    graph.insert_before(node, copy)
    output.replace_all_uses_with(value)


def _end(graph: ir.Graph, output: ir.Value, source: ir.Value) -> None:
    """Let a graph output be the value before its quantisation: nothing reads the integers."""
    name, output.name = output.name, None
    index = next(i for i, value in enumerate(graph.outputs) if value is output)
    if source.is_graph_input() or source.is_graph_output():
        copy = ir.node("Identity", [source], name=f"{name}:copy")
        copy.outputs[0].shape, copy.outputs[0].type = source.shape, source.type
        graph.append(copy)
        source = copy.outputs[0]
    graph.outputs[index] = source
    output.replace_all_uses_with(source)
    source.name = name


def _only_quantised(value: ir.Value, scale: float) -> bool:
    """Say whether every reader of a value rounds it in the same way."""
    readers = [reader for reader, _ in value.uses()]
    rounds = all(reader.op_type == _QUANTIZE for reader in readers)
    return rounds and all(_activation_scale(reader) == scale for reader in readers)


def _activation_scale(node: ir.Node) -> float:
    scale = constant(node.inputs[1])
    point = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None or scale.size != 1:
        raise _refusal(node, "its scale is not one constant")
    if point is None or point.dtype != np.int8 or _has_zero_point(node):
        raise _refusal(node, "it is not symmetric in int8")
    return float(np.float32(scale.reshape(-1)[0]))


def _has_zero_point(node: ir.Node) -> bool:
    point = node.inputs[2] if len(node.inputs) > 2 else None
    array = constant(point)
    return point is not None and (array is None or bool(np.any(array)))


def _refusal(node: ir.Node, reason: str) -> UnsupportedLayerError:
    layer = metadata.layer_of(node) or node.name or node.op_type
    return UnsupportedLayerError(
        f"the quantisation of {layer!r} cannot be used: {reason}",
        [(layer, node.op_type)],
        hint="quantise symmetrically to int8: activations with one scale, weights with one an "
        "output channel, all zero points 0",
    )
