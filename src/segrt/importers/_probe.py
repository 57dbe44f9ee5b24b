"""Find what unknown layers own and are called with, for the error that asks for converters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from segrt.errors import SegrtError
from segrt.graph.builder import IR_VERSION, OPSET
from segrt.importers._emit import Emitter
from segrt.importers._layer_graph import (
    KerasLayer,
    KerasVersion,
    LayerCall,
    LayerGraph,
    TensorRef,
    iter_leaves,
    map_tensors,
)
from segrt.importers._specs import unknown_layers
from segrt.importers.layers._base import LayerConverter, Tensor, as_stored

Shapes = list[tuple[int | None, ...]]


def probe(graph: LayerGraph, bind: Callable[[], list[str]]) -> dict[str, Shapes]:
    """Bind the weights and convert what can be, up to the unknown layers.

    Args:
        graph: A model with unknown layers; they get their arrays where the file tells them.
        bind: Gives every layer its arrays.

    Returns:
        Shapes of the inputs by layer path, as far as they can be known.
    """
    return _run(graph, bind).seen


def partial_model(graph: LayerGraph, bind: Callable[[], list[str]]) -> ir.Model:
    """Return a graph of what does not depend on unknown layers; it has no outputs.

    Args:
        graph: See `probe`.
        bind: See `probe`.
    """
    return _run(graph, bind).model


def _run(graph: LayerGraph, bind: Callable[[], list[str]]) -> _Prober:
    for _, layer in unknown_layers(graph):
        layer.converter = LayerConverter(_nothing, as_stored)
    onnx_graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name=graph.name)
    prober = _Prober(ir.Model(onnx_graph, ir_version=IR_VERSION), graph.keras_version)
    try:
        inputs = [prober.model_input(graph.layers[ref.layer]) for ref in graph.inputs]
        bind()
        prober.run(graph, inputs, prefix="")
    except SegrtError:
        # The outputs behind the unknown layers are missing, or the file has other faults: what
        # was seen until then is what can be told.
        return prober
    return prober


class _Prober(Emitter):
    """Converts what does not depend on an unknown layer."""

    def __init__(self, model: ir.Model, keras_version: KerasVersion) -> None:
        super().__init__(model, keras_version)
        self.model = model
        self.seen: dict[str, Shapes] = {}

    def call(
        self, layer: KerasLayer, call: LayerCall, name: str, made: Mapping[TensorRef, Tensor]
    ) -> list[Tensor]:
        if any(ref not in made for ref in call.tensors()):
            return []
        if layer.converter is not None and layer.converter.convert is _nothing:
            tensors = map_tensors([call.args, dict(call.kwargs)], lambda ref: made[ref])
            self.seen.setdefault(name, [x.shape for x in iter_leaves(Tensor, tensors)])
            return []
        try:
            return super().call(layer, call, name, made)
        except SegrtError:
            return []


def _nothing(*_args: object) -> list[Tensor]:
    return []
