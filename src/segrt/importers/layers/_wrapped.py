"""The layer inside a wrapper's configuration (``TimeDistributed``, ``SpectralNormalization``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segrt.errors import UnsupportedLayerError
from segrt.importers._layer_graph import Array, JsonObject
from segrt.importers.layers._base import REGISTRY, Call, LayerConverter, Tensor, WeightSpec

# Weights of the wrapped layer are named by Keras' attribute of the wrapper.
PART = "layer"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A wrapped layer as the configuration describes it.

    Attributes:
        key: Its class, with the package in front where it is none of Keras' own.
        config: Its settings.
    """

    key: str
    config: JsonObject

    @property
    def converter(self) -> LayerConverter | None:
        """What converts it; None for a class without a converter."""
        return REGISTRY.find(self.key)

    def weights(self) -> list[WeightSpec]:
        """Return its weights under the wrapper's attribute; none for an unknown class."""
        if self.converter is None:
            return []
        specs = self.converter.weights(self.config)
        return [WeightSpec(f"{PART}/{spec.name}", spec.trainable) for spec in specs]


def wrapped(config: JsonObject) -> Wrapped | None:
    """Return the layer that a wrapper's configuration holds; None where it holds none."""
    entry = config.get("layer")
    if not isinstance(entry, dict):
        return None
    inner, name = entry.get("config"), str(entry.get("class_name") or "")
    registered = str(entry.get("registered_name") or "")
    if ">" in registered and ">" not in name:
        name = f"{registered.rpartition('>')[0]}>{name}"
    return Wrapped(name, inner if isinstance(inner, dict) else {})


def convert_wrapped(call: Call, x: Tensor | Sequence[Tensor]) -> Tensor:
    """Run the converter of the wrapped layer, with its share of the wrapper's weights.

    Raises:
        UnsupportedLayerError: Its class has no converter.
        UnsupportedConfigError: There is none, or it gives several tensors.
    """
    if call.inner is not None and isinstance(x, Tensor):
        results = call.inner(x)
        if len(results) != 1:
            raise call.unsupported("layer", f"{len(results)} outputs", "a model with one output")
        return results[0]
    layer = wrapped(call.config)
    if layer is None:
        raise call.unsupported("layer", call.config.get("layer"), "a layer")
    converter = layer.converter
    if converter is None:
        raise UnsupportedLayerError(
            f"layer {call.name!r} ({call.class_name}) wraps a layer without a converter",
            [(call.name, layer.key)],
        )
    share: dict[str, Array] = {
        name.removeprefix(f"{PART}/"): array
        for name, array in call.weights.items()
        if name.startswith(f"{PART}/")
    }
    kwargs: dict[str, Any] = {key: call.kwargs[key] for key in ("training",) if key in call.kwargs}
    part = call.part(layer.key, layer.config, role=PART, weights=share, kwargs=kwargs)
    result = converter.convert(part, x)
    if not isinstance(result, Tensor):
        raise call.unsupported("layer", layer.key, "a layer with one output")
    return result
