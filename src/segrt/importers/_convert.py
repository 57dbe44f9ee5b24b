"""The last steps of every Keras reader: choose converters, bind weights, convert."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from segrt.graph.metadata import Source
from segrt.importers._choose import choose_converters, refuse_unused
from segrt.importers._data_parallel import network_inside
from segrt.importers._emit import emit
from segrt.importers._layer_graph import LayerGraph
from segrt.importers._policies import refuse_quantized
from segrt.importers._probe import partial_model
from segrt.importers._specs import unknown_layers
from segrt.importers._unknown import unknown_layers_error
from segrt.importers.layers._inner import looking_up
from segrt.types import LoadOptions


def convert(
    graph: LayerGraph, source: Source, options: LoadOptions, bind: Callable[[], list[str]]
) -> ir.Model:
    """Convert a Keras model whose weights are not bound yet.

    Args:
        graph: The model.
        source: Where it came from; recorded in the metadata.
        options: Says which converters of the user's own to take.
        bind: Gives every layer its arrays and returns remarks.

    Raises:
        UnsupportedLayerError: Layers without a converter; all of them are listed.
        UnsupportedConfigError: A layer's settings cannot be converted exactly.
        ModelFileError: The model contradicts itself.
        UsageError: A converter is bound to a layer that the model does not have.
        ConverterError: A converter of the user's own fails.
    """
    graph, remarks = network_inside(graph)
    refuse_quantized(graph, source.file)
    choice = choose_converters(graph, options, source.file)
    with looking_up(choice.inside):
        if unknown_layers(graph) and options.partial:
            return partial_model(graph, bind)
        if unknown_layers(graph):
            raise unknown_layers_error(graph, source.file, bind)
        model = emit(graph, source, [*remarks, *choice.remarks, *bind()])
    refuse_unused(choice, options, source.file)
    return model
