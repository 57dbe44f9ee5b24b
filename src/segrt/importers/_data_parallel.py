"""What ``multi_gpu_model`` made of a network: the network again.

Keras 2.0.9 to 2.3 and tf.keras until TensorFlow 2.3 trained on several GPUs with a model around the
network: a Lambda a GPU takes its share of the batch, the network is called on each share, and a
Concatenate joins the answers (``keras.utils.multi_gpu_utils``). Image by image that is the network
itself. No Lambda code is read: the wrapper is known by its whole shape.
"""

from __future__ import annotations

from segrt.importers._layer_graph import KerasLayer, LayerCall, LayerGraph, TensorRef


def network_inside(graph: LayerGraph) -> tuple[LayerGraph, list[str]]:
    """Return the network inside ``multi_gpu_model``'s wrapper, and a remark; else the graph."""
    models = [layer for layer in graph.layers.values() if layer.model is not None]
    if len(models) != 1 or models[0].model is None or not _is_wrapper(graph, models[0]):
        return graph, []
    network = models[0]
    remark = (
        f"the model is {network.name!r}, split over {len(network.calls)} GPUs by multi_gpu_model: "
        "the split is left out, and layers are called as in the model itself"
    )
    return models[0].model, [remark]


def _is_wrapper(graph: LayerGraph, network: KerasLayer) -> bool:
    """Say whether the graph only splits a batch, calls the network on each part and joins."""
    inside = network.model
    parts = len(network.calls)
    if inside is None or parts < 2:
        return False
    shares = [
        _share(graph, ref, index, parts)
        for index, call in enumerate(network.calls)
        for ref in call.tensors()
    ]
    if shares != graph.inputs * parts or len(graph.inputs) != len(inside.inputs):
        return False
    joined = [
        [TensorRef(network.name, call, output) for call in range(parts)]
        for output in range(len(inside.outputs))
    ]
    wrapping = len(graph.inputs) * (1 + parts) + 1 + len(joined)
    return len(graph.layers) == wrapping and joined == [
        _joined(graph, output) for output in graph.outputs
    ]


def _share(graph: LayerGraph, ref: TensorRef, index: int, parts: int) -> TensorRef | None:
    """Return the tensor that a Lambda takes share ``index`` of; None where it is another layer."""
    layer = graph.layers[ref.layer]
    call = _only_call(layer, "Lambda")
    if call is None or layer.config.get("arguments") != {"i": index, "parts": parts}:
        return None
    tensors = call.tensors()
    return tensors[0] if len(tensors) == 1 else None


def _joined(graph: LayerGraph, ref: TensorRef) -> list[TensorRef]:
    """Return what a Concatenate along the batch joins; nothing where it is another layer."""
    layer = graph.layers[ref.layer]
    call = _only_call(layer, "Concatenate")
    return call.tensors() if call is not None and layer.config.get("axis") == 0 else []


def _only_call(layer: KerasLayer, class_name: str) -> LayerCall | None:
    return layer.calls[0] if layer.class_name == class_name and len(layer.calls) == 1 else None
