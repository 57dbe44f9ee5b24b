"""Which arrays a layer owns, and which layers no converter is registered for."""

from __future__ import annotations

from collections.abc import Sequence

from segrt.errors import ModelFileError, UnsupportedLayerError
from segrt.importers._layer_graph import KerasLayer, LayerGraph, walk_layers
from segrt.importers.layers._base import REGISTRY, LayerConverter, WeightSpec
from segrt.importers.layers._left_out import reasons
from segrt.importers.layers._wrapped import wrapped

# Shorter runs of numbered names are spelled out.
_SHORTEST_RUN = 20


def converter_of(layer: KerasLayer) -> LayerConverter | None:
    """Return the converter of a layer's class, None where there is none.

    A custom class never gets the converter of the Keras class that happens to share its name.
    """
    key = f"{layer.package}>{layer.class_name}" if layer.package else layer.class_name
    return REGISTRY.find(key)


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


def owns_arrays(layer: KerasLayer) -> bool:
    """Say whether a layer, or any layer of a nested model, owns arrays."""
    if layer.model is None:
        return bool(weight_specs(layer))
    return any(owns_arrays(inner) for inner in layer.model.layers.values())


def refuse_unknown_layers(graph: LayerGraph, file: str) -> None:
    """Raise one error that lists every layer without a converter.

    Raises:
        UnsupportedLayerError: There is at least one.
    """
    unknown = [
        (path, key)
        for path, layer in walk_layers(graph)
        if layer.model is None and layer.class_name != "InputLayer"
        for key in _without_converter(layer)
    ]
    if not unknown:
        return
    by_class: dict[str, list[str]] = {}
    for path, class_name in unknown:
        by_class.setdefault(class_name, []).append(path)
    listing = "\n".join(
        f"    {class_name}: {', '.join(_shorten(paths))}" for class_name, paths in by_class.items()
    )
    hints = [
        "write a converter: one file in segrt/importers/layers with a function decorated "
        '@keras_layer("ClassName"); docs/guides/add_a_layer.md shows one'
    ]
    if any(class_name == "Lambda" for _, class_name in unknown):
        hints.append(
            "a Lambda holds Python code, which is never executed: replace it by a Keras layer"
        )
    if any(c == "TFOpLambda" or c.startswith("keras.ops>") for _, c in unknown):
        hints.append(
            "`x + 1`, `tf.concat(...)` and the like are operations, not layers: use Keras layers "
            "(Add, Concatenate, Rescaling, ...) in their place"
        )
    hints += reasons(class_name for _, class_name in unknown)
    raise UnsupportedLayerError(
        f"{file}: {len(unknown)} layer(s) have no converter:\n{listing}",
        unknown,
        hint="; ".join(hints),
    )


def _without_converter(layer: KerasLayer) -> list[str]:
    """Return the class of a layer, or of the one it wraps, where that has no converter."""
    if converter_of(layer) is None:
        return [f"{layer.package}>{layer.class_name}" if layer.package else layer.class_name]
    inner = wrapped(layer.config)
    return [inner.key] if inner is not None and inner.converter is None else []


def _shorten(names: Sequence[str]) -> list[str]:
    """Return names with runs of automatic ones (``lambda_1``, ``lambda_2`` ...) put together.

    Published networks have thousands of Lambdas; none is left out, and the list stays readable.
    """
    shown: list[str] = []
    runs: list[list[str]] = []
    for name in names:
        stem, number = _numbered(name)
        if runs and (stem, number - 1) == _numbered(runs[-1][-1]):
            runs[-1].append(name)
        else:
            runs.append([name])
    for run in runs:
        shown += run if len(run) < _SHORTEST_RUN else [f"{run[0]} ... {run[-1]} ({len(run)})"]
    return shown


def _numbered(name: str) -> tuple[str, int]:
    """Split ``lambda_12`` into its stem and number; without a number it is 0, as Keras counts."""
    stem, _, number = name.rpartition("_")
    plain = number.isascii() and number.isdigit() and stem and str(int(number[:9])) == number
    return (stem, int(number)) if plain else (name, 0)
