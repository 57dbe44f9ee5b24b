"""`LayerGraph` -> ``onnx_ir.Model``: walks the calls in order and runs each layer's converter.

Nothing is rewritten here: every Keras layer's output becomes a value of its own, under the
layer's name, even where it equals its input (Dropout, a nested model's output).
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

import segrt.importers._specs as specs
from segrt.errors import ConverterError, ModelFileError, SegrtError
from segrt.graph import metadata
from segrt.graph.builder import IR_VERSION, OPSET, GraphBuilder
from segrt.importers import _weight_names
from segrt.importers._inner_model import inner_model
from segrt.importers._layer_graph import (
    Argument,
    Array,
    KerasLayer,
    KerasVersion,
    LayerGraph,
    TensorRef,
    WeightEntry,
    iter_leaves,
    iter_tensors,
    map_tensors,
)
from segrt.importers._layer_graph import LayerCall as KerasCall
from segrt.importers._model_config import MODEL_CLASSES
from segrt.importers._model_input import input_dtype, input_shape
from segrt.importers._own_code import user_code
from segrt.importers._policies import remark_policies
from segrt.importers.layers._base import Call, Layout, Tensor
from segrt.importers.layers._stored import StoredArrays

# ``@1`` behind a path's part: weights belong to the layer, whatever call they are used in.
_CALL_SUFFIX = re.compile(r"@\d+(?=/|$)")


def emit(graph: LayerGraph, source: metadata.Source, remarks: Sequence[str]) -> ir.Model:
    """Convert a Keras model whose weights are bound.

    Args:
        graph: The model.
        source: Where it came from; recorded in the metadata.
        remarks: Remarks of the reader; those of the converters are added.

    Raises:
        UnsupportedConfigError: A layer's settings cannot be converted exactly.
        ModelFileError: The model contradicts itself.
    """
    onnx_graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name=graph.name)
    model = ir.Model(onnx_graph, ir_version=IR_VERSION, producer_name="segrt")
    metadata.set_source(model, source)
    for remark in remarks:
        metadata.add_remark(model, remark)
    remark_policies(model, graph)
    emitter = Emitter(model, graph.keras_version)
    inputs = [emitter.model_input(graph.layers[ref.layer]) for ref in graph.inputs]
    emitter.finish(graph, emitter.run(graph, inputs, prefix=""))
    return model


@dataclass(frozen=True, slots=True)
class _Key:
    """One call of one layer within one `LayerGraph`."""

    layer: str
    call: int


class Emitter:
    """Appends the calls of a model, and of the models inside it, to one graph."""

    def __init__(self, model: ir.Model, keras_version: KerasVersion) -> None:
        self._model = model
        self._keras_version = keras_version
        self._builder = GraphBuilder(model.graph)
        self._constants: dict[str, ir.Value] = {}
        self._arrays: dict[int, Mapping[str, Array]] = {}
        self._owners: dict[int, str] = {}

    def model_input(self, layer: KerasLayer) -> Tensor:
        """Append the graph input of an InputLayer, in the source's layout and type."""
        shape, dtype = input_shape(layer), input_dtype(layer)
        value = self._builder.input(layer.name, shape, dtype)
        metadata.tag_value(value, layer.name, None)
        return Tensor(value, Layout.SOURCE)

    def run(self, graph: LayerGraph, inputs: Sequence[Tensor], prefix: str) -> list[Tensor]:
        """Append the nodes of ``graph`` and return its outputs.

        Args:
            graph: A model, perhaps nested.
            inputs: What its inputs are, in its order.
            prefix: ``outer/`` or ``outer@1/``; "" at the top.
        """
        made: dict[TensorRef, Tensor] = {}
        for ref, tensor in zip(graph.inputs, inputs, strict=True):
            made[ref] = self._named(tensor, prefix + ref.layer, "InputLayer") if prefix else tensor
        for key in _in_order(graph):
            layer = graph.layers[key.layer]
            name = prefix + key.layer + (f"@{key.call}" if key.call else "")
            if layer.class_name == "InputLayer":
                if TensorRef(key.layer, key.call, 0) not in made:
                    raise ModelFileError(f"input {name!r} is not among the model's inputs")
                continue
            for index, tensor in enumerate(self.call(layer, layer.calls[key.call], name, made)):
                made[TensorRef(key.layer, key.call, index)] = tensor
        return [_made(made, ref, graph) for ref in graph.outputs]

    def finish(self, graph: LayerGraph, outputs: Sequence[Tensor]) -> None:
        """Append the graph outputs, in the source's layout, under the layers' names."""
        seen: set[ir.Value] = set()
        for ref, tensor in zip(graph.outputs, outputs, strict=True):
            name = ref.layer + (f"@{ref.call}" if ref.call else "")
            name += f"#{ref.tensor}" if ref.tensor else ""
            axes = tensor.to_source
            inner = tensor.value
            if inner in seen or inner.is_graph_input():  # the same tensor twice, or an input
                value = self._builder.op("Identity", [inner], name=f"{name}:output")
                if axes is not None:
                    value = self._builder.op("Transpose", [value], name=f"{name}:again", perm=axes)
            elif axes is None:
                value = inner
            else:
                self._builder.rename(inner, f"{name}:nchw")
                value = self._builder.op("Transpose", [inner], name=f"{name}:source", perm=axes)
                self._builder.rename(value, name)
                metadata.move_tags(inner, value)
                value.metadata_props.pop(metadata.TO_SOURCE, None)
            producer = value.producer()
            if producer is not None and not metadata.layer_of(producer):
                metadata.tag_node(producer, name, graph.layers[ref.layer].class_name)
            seen.add(inner)
            self._model.graph.outputs.append(value)

    def call(
        self, layer: KerasLayer, call: KerasCall, name: str, made: Mapping[TensorRef, Tensor]
    ) -> list[Tensor]:
        """Append the nodes of one call and return what it gives."""

        def find(ref: TensorRef) -> Tensor:
            return _made(made, ref, None)

        args, kwargs = map_tensors(call.args, find), map_tensors(dict(call.kwargs), find)
        if layer.model is not None and layer.class_name in MODEL_CLASSES:
            return self._nested(layer, layer.model, args, name)
        converter = specs.converter_of(layer)
        assert converter is not None
        self._builder.appended.clear()
        context = Call(
            self._builder,
            name=name,
            layer_name=self._owner(layer, name),
            class_name=layer.class_name,
            config=layer.config,
            keras_version=self._keras_version,
            weights=self._weights(layer, name),
            kwargs=kwargs,
            remark=lambda text: metadata.add_remark(self._model, text),
            constants=self._constants,
        )
        if layer.model is not None:
            context.inner = inner_model(self.run, self._builder, layer.model, name)
        if not converter.keeps_types:
            args = [self._as_float32(argument) for argument in args]
        try:
            if converter.own:
                with user_code(
                    f"the converter of layer {name!r} ({layer.class_name}) failed",
                    converter.convert,
                ):
                    result = converter.convert(context, *args)
            else:
                result = converter.convert(context, *args)
        except SegrtError:
            raise
        except onnx.shape_inference.InferenceError as error:
            raise ModelFileError(
                f"layer {name!r} ({layer.class_name}) does not fit its input",
                found=_shapes(args) + "; " + str(error).strip().splitlines()[-1][:160],
            ) from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as e:
            # A configuration is data from a file: whatever is wrong in it must not look like a
            # mistake in this program.
            raise ModelFileError(
                f"layer {name!r} ({layer.class_name}): its configuration cannot be read",
                found=f"{type(e).__name__}: {e}"[:200],
            ) from e
        results = _results(result, name, layer.class_name)
        for node in self._builder.appended:
            metadata.tag_node(node, name, layer.class_name)
        return [
            self._named(tensor, name if index == 0 else f"{name}#{index}", layer.class_name)
            for index, tensor in enumerate(results)
        ]

    def _nested(
        self, layer: KerasLayer, model: LayerGraph, args: Argument, name: str
    ) -> list[Tensor]:
        tensors = list(iter_leaves(Tensor, args))
        if len(tensors) != len(model.inputs):
            raise ModelFileError(
                f"nested model {name!r} is called with {len(tensors)} tensor(s)",
                wanted=f"{len(model.inputs)}",
            )
        outputs = self.run(model, tensors, prefix=f"{name}/")
        return [
            self._named(tensor, name if index == 0 else f"{name}#{index}", layer.class_name)
            for index, tensor in enumerate(outputs)
        ]

    def _named(self, tensor: Tensor, name: str, class_name: str) -> Tensor:
        """Give a layer's output the layer's name; an alias of another layer's gets an Identity."""
        value = tensor.value
        if metadata.keras_name(value) is not None or value.producer() is None:
            value = self._builder.op("Identity", [value], name=name)
            producer = value.producer()
            assert producer is not None
            metadata.tag_node(producer, name, class_name)
        else:
            self._builder.rename(value, name)
            producer = value.producer()
            if producer is not None and producer.name != value.name and value.index() == 0:
                producer.name = value.name
        metadata.tag_value(value, name, tensor.to_source)
        return Tensor(value, tensor.layout)

    def _as_float32(self, argument: Any) -> Any:
        """Cast tensors of another type, as Keras casts to the layer's compute type."""
        if isinstance(argument, list):
            return [self._as_float32(item) for item in argument]
        if not isinstance(argument, Tensor) or argument.value.dtype == ir.DataType.FLOAT:
            return argument
        value = self._builder.op(
            "Cast",
            [argument.value],
            name=f"{argument.value.name}:float32",
            to=int(ir.DataType.FLOAT),
        )
        return Tensor(value, argument.layout)

    def _owner(self, layer: KerasLayer, name: str) -> str:
        """Return under which name a layer's weights stand: without the number of the call.

        A layer may itself be called ``conv@1``; no two may share a name, or they share weights.
        """
        if id(layer) not in self._owners:
            owner = _CALL_SUFFIX.sub("", name)
            while owner in self._owners.values():
                owner += "~"
            self._owners[id(layer)] = owner
        return self._owners[id(layer)]

    def _weights(self, layer: KerasLayer, name: str) -> Mapping[str, Array]:
        """Read a layer's arrays and give them their names; read once for all its calls."""
        if id(layer) in self._arrays:
            return self._arrays[id(layer)]
        arrays: Mapping[str, Array]
        if specs.takes_all_arrays(layer):
            arrays = StoredArrays(layer.weights, layer.name, _read)
        else:
            found = _weight_names.match(layer, specs.weight_specs(layer), name)
            arrays = {key: _read(entry) for key, entry in found.items()}
        if len(layer.calls) > 1:
            self._arrays[id(layer)] = arrays
        return arrays


def _results(result: object, name: str, class_name: str) -> list[Tensor]:
    """Return what a converter returned as a list.

    Raises:
        ConverterError: It is not one tensor or several.
    """
    results = list(result) if isinstance(result, list | tuple) else [result]
    tensors = [tensor for tensor in results if isinstance(tensor, Tensor)]
    if not tensors or len(tensors) != len(results):
        raise ConverterError(
            f"the converter of layer {name!r} ({class_name}) returned no tensor",
            found=", ".join(type(item).__name__ for item in results) or "nothing",
            wanted="segrt.Tensor(value, layout), or a list of them",
        )
    return tensors


def _in_order(graph: LayerGraph) -> Iterator[_Key]:
    """Yield all calls, each after those it depends on, else in the file's order.

    Raises:
        ModelFileError: The calls depend on each other in a circle.
    """
    sorter: graphlib.TopologicalSorter[_Key] = graphlib.TopologicalSorter()
    for name, layer in graph.layers.items():
        for index, call in enumerate(layer.calls):
            needs = [_Key(ref.layer, ref.call) for ref in iter_tensors((call.args, call.kwargs))]
            sorter.add(_Key(name, index), *needs)
    try:
        yield from sorter.static_order()
    except graphlib.CycleError as error:
        circle = " -> ".join(key.layer for key in error.args[1])
        raise ModelFileError(
            f"the layers of model {graph.name!r} depend on each other in a circle",
            found=circle[:300],
        ) from error


def _made(made: Mapping[TensorRef, Tensor], ref: TensorRef, graph: LayerGraph | None) -> Tensor:
    if ref not in made:
        where = f" of model {graph.name!r}" if graph else ""
        raise ModelFileError(
            f"layer {ref.layer!r}{where} has no output {ref.tensor} in call {ref.call}"
        )
    return made[ref]


def _read(entry: WeightEntry) -> Array:
    """Return an array of weights, refused if it holds NaN or infinity."""
    array = entry.load()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ModelFileError(
            f"the weights {entry.path} hold NaN or infinity",
            hint="the training diverged or the file is damaged; train or save again",
        )
    return array


def _shapes(args: Sequence[Any]) -> str:
    return "input " + ", ".join(str(tensor.shape) for tensor in iter_leaves(Tensor, list(args)))
