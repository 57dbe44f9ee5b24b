"""From our graph to TensorRT's INetworkDefinition, node by node.

Tensors are named like the graph's values, layers like its nodes, and every layer carries the
Keras layer it came from as metadata. Inputs and outputs keep the source's layout and type: where
the network computes in half precision, casts stand at the edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from segrt.errors import EngineError, UnsupportedLayerError, UsageError
from segrt.graph import metadata
from segrt.graph.specs import input_specs
from segrt.targets.trt._flavour import Flavour
from segrt.targets.trt._writer import Writer
from segrt.targets.trt.layers._base import REGISTRY, kind_of
from segrt.targets.trt.logger import Log
from segrt.types import Precision, TensorSpec

PRECISIONS = (Precision.FP32, Precision.TF32, Precision.FP16, Precision.BF16)
_FREE = -1


@dataclass(slots=True)
class Network:
    """A finished network and all that has to live as long as it does.

    Attributes:
        library: The TensorRT module.
        flavour: Which one it is.
        definition: The INetworkDefinition.
        builder: What made it, and what will build it.
        log: Gets all messages of both.
        keep: Weights that the definition points to, or a parser that owns them.
        inputs: What it takes; their ranges are those of its free sizes.
    """

    library: Any
    flavour: Flavour
    definition: Any
    builder: Any
    log: Log
    keep: list[Any]
    inputs: tuple[TensorSpec, ...]


def empty_network(flavour: Flavour, model: ir.Model) -> Network:
    """Return a network without layers.

    Args:
        flavour: TensorRT or TensorRT for RTX.
        model: What will be written: its name is part of the plan, so it must not change from
            build to build, and its inputs say what free sizes are limited to.

    Raises:
        UnavailableError: The library is missing.
        EngineError: It does not work here.
    """
    library = flavour.load()
    log = Log(library)
    builder = library.Builder(log.sink)
    definition = None if builder is None else flavour.create_network(library, builder)
    log.check("an empty network")
    if definition is None:
        raise EngineError(f"{flavour.title} made no network")
    # Without a name, a counter of the process gets into the plan.
    definition.name = str(model.graph.name or "segrt")
    return Network(library, flavour, definition, builder, log, [], input_specs(model))


def write_network(flavour: Flavour, model: ir.Model, precision: Precision) -> Network:
    """Write a graph, layer by layer.

    Args:
        flavour: TensorRT or TensorRT for RTX.
        model: As a lowering made it.
        precision: The type to compute in.

    Raises:
        UnsupportedLayerError: Operators without a converter; all are listed.
        UnsupportedConfigError: An operator with settings that TensorRT does not have.
        UsageError: A precision that cannot be written.
        EngineError: TensorRT refuses a layer; the message names it.
    """
    check_operators(model)
    network, writer = begin(flavour, model, precision)
    for node in model.graph:
        write_node(writer, node)
    for value in model.graph.outputs:
        _write_output(writer, value)
    network.log.check("the network")
    return network


def begin(flavour: Flavour, model: ir.Model, precision: Precision) -> tuple[Network, Writer]:
    """Return a network of a graph's inputs, and what writes its nodes.

    Raises:
        UsageError: A precision that cannot be written.
        EngineError: TensorRT refuses an input.
    """
    if precision not in PRECISIONS:
        raise UsageError(
            f"target {flavour.name!r} cannot compute in {precision}",
            found=precision,
            wanted=", ".join(PRECISIONS),
        )
    network = empty_network(flavour, model)
    writer = Writer(
        network.library, flavour, network.definition, network.log, precision, keep=network.keep
    )
    writer.names |= _taken_names(model.graph)
    for value in model.graph.inputs:
        _write_input(writer, value)
    return network, writer


def write_node(writer: Writer, node: ir.Node) -> None:
    """Write one node, whose inputs are written.

    Raises:
        UnsupportedConfigError: Settings that TensorRT does not have.
        EngineError: TensorRT refuses it.
    """
    converter = REGISTRY.find(kind_of(node))
    assert converter is not None
    writer.node = node
    written = converter(writer, node)
    tensors = written if isinstance(written, tuple) else (written,)
    # Statistics and masks of training are outputs that nobody reads.
    for output, tensor in zip(node.outputs, tensors, strict=False):
        tensor.name = output.name
        writer.tensors[output] = tensor


def check_operators(model: ir.Model) -> None:
    """Refuse a graph with operators that have no converter.

    Raises:
        UnsupportedLayerError: Lists all of them with their Keras layers.
    """
    unknown = [
        (metadata.layer_of(node) or str(node.name), f"{node.domain}::{node.op_type}".strip(":"))
        for node in model.graph
        if operator_refusal(node) is not None
    ]
    if unknown:
        rows = "".join(f"\n  {layer}: {kind}" for layer, kind in unknown)
        raise UnsupportedLayerError(
            f"{len(unknown)} nodes have no TensorRT layer here:{rows}",
            unknown,
            hint="use --via onnx-parser, or write a converter: one file in targets/trt/layers",
        )


def operator_refusal(node: ir.Node) -> str | None:
    """Say that a node's operator has no converter; None if it has one."""
    if REGISTRY.find(kind_of(node)) is not None:
        return None
    return f"{kind_of(node)} has no TensorRT layer here"


def _taken_names(graph: ir.Graph) -> set[str]:
    names = {str(value.name) for value in graph.inputs}
    for node in graph:
        names |= {str(node.name), *(str(value.name) for value in node.outputs)}
    return names


def _write_input(writer: Writer, value: ir.Value) -> None:
    name = str(value.name)
    if value.dtype is None or value.shape is None:
        raise EngineError(f"input {name!r} has no known type or rank")
    dtype = writer.dtype(value.dtype.numpy())
    sizes = [size if isinstance(size, int) else _FREE for size in value.shape]
    tensor = writer.network.add_input(name, dtype, sizes)
    writer.log.check(f"input {name!r}")
    if tensor is None:
        raise EngineError(f"TensorRT refuses input {name!r}", found=str(value))
    inside = writer.network_dtype(value.dtype)
    if inside != dtype:
        layer = writer.network.add_cast(tensor, inside)
        tensor = layer.get_output(0)
        layer.name = tensor.name = f"{name}:{writer.precision}"
    writer.tensors[value] = tensor


def _write_output(writer: Writer, value: ir.Value) -> None:
    tensor = writer.tensors.get(value)
    name = str(value.name)
    if tensor is None or value.is_graph_input():
        raise EngineError(f"output {name!r} is no result of a node")
    assert value.dtype is not None
    outside = writer.dtype(value.dtype.numpy())
    if tensor.dtype != outside:
        tensor.name = f"{name}:{writer.precision}"
        writer.node = value.producer()
        layer = writer.network.add_cast(tensor, outside)
        tensor = writer.layer(layer, str(outside).rsplit(".", 1)[-1].lower())
        tensor.name = name
    writer.network.mark_output(tensor)


__all__ = [
    "PRECISIONS", "Network", "begin", "check_operators", "empty_network", "operator_refusal",
    "write_network", "write_node",
]  # fmt: skip
