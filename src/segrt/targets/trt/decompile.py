"""A finished network read back as ONNX, to be run on a CPU: proof without a GPU.

Everything comes from TensorRT's own objects: the layers in the network, their attributes and
their weights as TensorRT holds them, not as they were meant. Our graph only lends its names: a
tensor called like one of our values carries that value's tags, so that `verify` can compare it
with the Keras layer it stands for.

Half precision is widened: weights keep their rounding, arithmetic does not round. What is proven
is the network, not the kernels.
"""

from __future__ import annotations

import re
from typing import Any

import onnx
import onnx_ir as ir

from segrt.errors import EngineError, UnsupportedLayerError
from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.targets.trt.network import Network
from segrt.targets.trt.readers._base import REGISTRY, Reader
from segrt.targets.trt.readers.arithmetic import element_type

_TAG = re.compile(r"\[segrt\.(layer|class): ([^\]]*)\]")
_FREE = -1


def decompile(network: Network, names: ir.Model | None = None) -> ir.Model:
    """Read a network back.

    Args:
        network: As `write_network` or the parser made it.
        names: A graph whose values lend their tags to the tensors of the same names.

    Raises:
        UnsupportedLayerError: Layers that no reader knows; all are listed.
        UnsupportedConfigError: A layer that ONNX cannot say.
        EngineError: The network is inconsistent.
    """
    definition = network.definition
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name=str(definition.name))
    reader = Reader(network.library, GraphBuilder(graph), {})
    _check_known(definition)
    for index in range(definition.num_inputs):
        tensor = definition.get_input(index)
        shape = [None if size == _FREE else size for size in tensor.shape]
        dtype = element_type(reader, tensor.dtype)
        reader.values[tensor.name] = reader.builder.input(tensor.name, shape, dtype)
    _read_layers(reader, definition)
    for index in range(definition.num_outputs):
        tensor = definition.get_output(index)
        value = reader.values[tensor.name]
        if value.is_graph_input() or value.name != tensor.name:
            raise EngineError(f"output {tensor.name!r} of the network is no layer's result")
        graph.outputs.append(value)
    model = ir.Model(graph, ir_version=IR_VERSION)
    if names is not None:
        _lend_names(names, model)
    return model


def _check_known(definition: Any) -> None:
    unknown = []
    for index in range(definition.num_layers):
        layer = definition.get_layer(index)
        if REGISTRY.find(layer.type.name) is None:
            unknown.append((str(layer.name), str(layer.type.name)))
    if unknown:
        rows = "".join(f"\n  {name}: {kind}" for name, kind in unknown)
        raise UnsupportedLayerError(f"{len(unknown)} layers cannot be read back:{rows}", unknown)


def _read_layers(reader: Reader, definition: Any) -> None:
    """Read layers as their inputs become known: a shape may be added behind what takes it."""
    waiting = [definition.get_layer(index) for index in range(definition.num_layers)]
    while waiting:
        stuck = []
        for layer in waiting:
            if _is_ready(reader, layer):
                _read_layer(reader, layer)
            else:
                stuck.append(layer)
        if len(stuck) == len(waiting):
            raise EngineError(
                "the network's layers wait for one another", found=", ".join(x.name for x in stuck)
            )
        waiting = stuck


def _is_ready(reader: Reader, layer: Any) -> bool:
    tensors = [layer.get_input(index) for index in range(layer.num_inputs)]
    return all(tensor is None or tensor.name in reader.values for tensor in tensors)


def _read_layer(reader: Reader, layer: Any) -> None:
    kind, first = layer.type.name, layer.get_output(0)
    read = REGISTRY.find(kind)
    assert read is not None
    # A network hands out its layers as the base class; the rest of it is there all the same.
    layer.__class__ = _class_of(reader.trt, kind)
    reader.layer = layer
    reader.builder.appended.clear()
    try:
        value = read(reader, layer)
    except onnx.shape_inference.InferenceError as error:
        raise EngineError(
            f"TensorRT layer {layer.name!r} ({kind}) makes no valid ONNX", found=str(error)
        ) from error
    if value.producer() not in reader.builder.appended:
        value = reader.op("Identity", [value])
    reader.builder.rename(value, first.name)
    if value.name != first.name:
        raise EngineError(f"two tensors of the network are called {first.name!r}")
    _settle_shape(value, [int(size) for size in first.shape], layer)
    reader.values[first.name] = value
    _tag(reader, layer, value)


def _settle_shape(value: ir.Value, known: list[int], layer: Any) -> None:
    """Fill in sizes that TensorRT knows and ONNX' inference does not.

    Raises:
        EngineError: They contradict one another.
    """
    inferred = [None] * len(known) if value.shape is None else list(value.shape)
    both = list(zip(inferred, known, strict=False))
    if len(inferred) != len(known) or any(
        isinstance(size, int) and _FREE != told != size for size, told in both
    ):
        raise EngineError(
            f"TensorRT layer {layer.name!r} gives another shape than its settings say in ONNX",
            found=str(known),
            wanted=str(inferred),
        )
    value.shape = ir.Shape([size if told == _FREE else told for size, told in both])


def _class_of(library: Any, kind: str) -> Any:
    wanted = f"i{kind.replace('_', '')}layer".lower()
    classes = {name.lower(): name for name in dir(library) if name.startswith("I")}
    return getattr(library, classes[wanted])


def _tag(reader: Reader, layer: Any, value: ir.Value) -> None:
    tags = dict(_TAG.findall(str(layer.metadata)))
    for node in reader.builder.appended:
        if tags.get("layer"):
            metadata.tag_node(node, tags["layer"], tags.get("class", ""))
    producer = value.producer()
    if producer is not None:
        producer.name = layer.name


def _lend_names(names: ir.Model, model: ir.Model) -> None:
    """Copy tags of values, nodes and the model by name, and nothing else."""
    lent = {value.name: value for node in names.graph for value in node.outputs}
    lent |= {value.name: value for value in names.graph.inputs}
    nodes = {node.name: node for node in names.graph}
    own = [value for node in model.graph for value in node.outputs]
    for value in [*model.graph.inputs, *own]:
        if value.name in lent:
            _copy_tags(lent[value.name].metadata_props, value.metadata_props)
    for node in model.graph:
        if not metadata.layer_of(node) and node.name in nodes:
            _copy_tags(nodes[node.name].metadata_props, node.metadata_props)
    _copy_tags(names.metadata_props, model.metadata_props)


def _copy_tags(source: Any, target: Any) -> None:
    target.update({key: text for key, text in source.items() if key.startswith("segrt.")})
