"""How files number the calls of nested models: from 0, from 1, or both."""

from __future__ import annotations

from segrt.importers._layer_graph import LayerCall, LayerGraph, TensorRef, map_tensors


def count_calls_from_zero(graph: LayerGraph) -> None:
    """Renumber references to nested models.

    In Keras 2 a model that was built on an input owns call 0 itself, and the file keeps only the
    calls behind it: they are numbered from 1. (Not so for a Sequential that was built by its
    first call.) Every kept call leads to an output, so the largest number tells. Keras 3 numbers
    them from 1 where they are outputs of the model around them, and from 0 in all calls.
    """
    if graph.keras_version >= (3,):
        graph.outputs = _from_one(graph)
        return
    calls = [call for layer in graph.layers.values() for call in layer.calls]
    refs = [*graph.outputs, *(ref for call in calls for ref in call.tensors())]
    shifted = set()
    for name, layer in graph.layers.items():
        used = [ref.call for ref in refs if ref.layer == name]
        if layer.model is not None and used and max(used) == len(layer.calls) and min(used) > 0:
            shifted.add(name)

    def shift(ref: TensorRef) -> TensorRef:
        moved = ref.layer in shifted
        return TensorRef(ref.layer, ref.call - 1, ref.tensor) if moved else ref

    if shifted:
        graph.outputs = [shift(ref) for ref in graph.outputs]
        for layer in graph.layers.values():
            layer.calls = [
                LayerCall(
                    map_tensors(call.args, shift),
                    {key: map_tensors(value, shift) for key, value in call.kwargs.items()},
                )
                for call in layer.calls
            ]


def _from_one(graph: LayerGraph) -> list[TensorRef]:
    """Return the outputs of a model of Keras 3; those of a Sequential in it count from 0."""
    moved = {
        ref.layer
        for ref in graph.outputs
        if (layer := graph.layers.get(ref.layer))
        and layer.model
        and layer.class_name != "Sequential"
    }
    return [
        TensorRef(ref.layer, ref.call - 1, ref.tensor) if ref.layer in moved and ref.call else ref
        for ref in graph.outputs
    ]
