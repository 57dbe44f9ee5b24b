"""A model inside a wrapper layer (``TimeDistributed(encoder)``): part of it, like its kernel.

Keras hands out what the wrapper gives and not what the layers inside give for one step, so values
inside carry no Keras names, and the nodes belong to the wrapper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from segrt.graph import metadata
from segrt.graph.builder import GraphBuilder
from segrt.importers._layer_graph import LayerGraph
from segrt.importers.layers._base import Tensor


class Runner(Protocol):
    """Appends the nodes of a model; `segrt.importers._emit.Emitter.run`."""

    def __call__(self, graph: LayerGraph, inputs: list[Tensor], prefix: str) -> list[Tensor]:
        """Return the model's outputs."""
        ...


def inner_model(
    run: Runner, builder: GraphBuilder, model: LayerGraph, name: str
) -> Callable[[Tensor], list[Tensor]]:
    """Return what runs a wrapper's model on one tensor.

    Args:
        run: Appends a model's nodes.
        builder: What it appends to.
        model: The wrapped model.
        name: The wrapper's call.
    """

    def inner(x: Tensor) -> list[Tensor]:
        before, first = list(builder.appended), len(builder.graph)
        named = metadata.keras_name(x.value) is not None
        outputs = run(model, [x], f"{name}:layer/")
        inside = list(builder.graph)[first:]
        made = [value for node in inside for value in node.outputs]
        # What comes in was given the name of the model's input, unless it had one of its own.
        for value in made if named else [x.value, *made]:
            value.metadata_props.pop(metadata.KERAS, None)
            value.metadata_props.pop(metadata.TO_SOURCE, None)
        builder.appended[:] = [*before, *inside]
        return outputs

    return inner
