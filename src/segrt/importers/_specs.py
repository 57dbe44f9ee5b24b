"""Which arrays a layer owns, and which layers no converter is registered for."""

from __future__ import annotations

from segrt.errors import ModelFileError
from segrt.importers._layer_graph import KerasLayer, LayerGraph, walk_layers
from segrt.importers.layers._base import REGISTRY, LayerConverter, WeightSpec, as_stored
from segrt.importers.layers._wrapped import wrapped
from segrt.importers.operations import _dialects as operations


def converter_of(layer: KerasLayer) -> LayerConverter | None:
    """Return the converter of a layer, None where there is none.

    A converter chosen for the layer itself comes first. A custom class never gets the converter
    of the Keras class that happens to share its name.
    """
    if layer.converter is not None:
        assert isinstance(layer.converter, LayerConverter)
        return layer.converter
    if operations.is_operation(layer):
        return operations.converter_of(layer)
    return REGISTRY.find(class_key(layer))


def class_key(layer: KerasLayer) -> str:
    """Return ``Package>Class``, or the class alone where it is Keras' own."""
    return f"{layer.package}>{layer.class_name}" if layer.package else layer.class_name


def weight_specs(layer: KerasLayer) -> list[WeightSpec]:
    """Return the arrays a layer owns, in Keras' order; none for inputs and nested models.

    Raises:
        ModelFileError: The configuration cannot be read.
    """
    converter = converter_of(layer)
    if converter is None or layer.model is not None:
        return []
    try:
        return converter.weights(layer.config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(
            f"layer {layer.name!r} ({layer.class_name}): its configuration cannot be read",
            found=repr(error)[:200],
        ) from error


def takes_all_arrays(layer: KerasLayer) -> bool:
    """Say whether a layer's converter takes whatever arrays the file holds for the layer."""
    converter = converter_of(layer)
    if converter is None or converter.weights is as_stored:
        return converter is not None
    inner = wrapped(layer.config) if layer.converter is None and layer.model is None else None
    return inner is not None and inner.takes_all_arrays


def owns_arrays(layer: KerasLayer) -> bool:
    """Say whether a layer, or any layer of a nested model, owns arrays."""
    if layer.model is None:
        return bool(weight_specs(layer))
    return any(owns_arrays(inner) for inner in layer.model.layers.values())


def may_own_arrays(layer: KerasLayer) -> bool:
    """Say whether only the file tells if a layer, or any of a nested model, owns arrays."""
    if layer.model is None:
        return takes_all_arrays(layer)
    return any(may_own_arrays(inner) for inner in layer.model.layers.values())


def unknown_layers(graph: LayerGraph) -> list[tuple[str, KerasLayer]]:
    """Return path and layer of every layer without a converter, those of nested models too."""
    return [
        (path, layer)
        for path, layer in walk_layers(graph)
        if layer.model is None and layer.class_name != "InputLayer" and missing_class(layer)
    ]


def missing_class(layer: KerasLayer) -> str:
    """Return the class that has no converter: the layer's, or that of the one it wraps; else ""."""
    if converter_of(layer) is None:
        return operations.title(layer) if operations.is_operation(layer) else class_key(layer)
    inner = wrapped(layer.config) if layer.converter is None else None
    return inner.key if inner is not None and inner.converter is None else ""
