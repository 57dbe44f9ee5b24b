"""The layer inside a wrapper's configuration (``TimeDistributed``, ``SpectralNormalization``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segrt.errors import UnsupportedLayerError
from segrt.importers._layer_graph import Array, JsonObject, KerasLayer
from segrt.importers.layers._base import Call, LayerConverter, Tensor, WeightSpec, as_stored
from segrt.importers.layers._inner import find
from segrt.importers.layers._parts import named_arrays, run_part
from segrt.importers.layers._stored import StoredArrays

# Weights of the wrapped layer are named by Keras' attribute of the wrapper.
PART = "layer"
# Arrays that wrappers add beside them: SpectralNormalization's vector, by its names so far.
_WRAPPERS_OWN = ("vector_u", "sn_u")


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
        return find(self.key, self.config)

    def weights(self) -> list[WeightSpec]:
        """Return its weights under the wrapper's attribute; none for an unknown class."""
        if self.converter is None:
            return []
        specs = self.converter.weights(self.config)
        return [WeightSpec(f"{PART}/{spec.name}", spec.trainable) for spec in specs]

    def stored_entries(self, layer: KerasLayer) -> StoredArrays:
        """Return the share of the wrapper's arrays, as the file names them."""
        arrays = StoredArrays(layer.weights, layer.name, lambda entry: entry.load())
        return arrays.wrapped(PART, _WRAPPERS_OWN)

    @property
    def takes_all_arrays(self) -> bool:
        """Whether only the file tells which arrays it has."""
        return self.converter is not None and self.converter.weights is as_stored


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
    share = _share(call, layer, converter)
    kwargs: dict[str, Any] = {key: call.kwargs[key] for key in ("training",) if key in call.kwargs}
    class_name = layer.key.rpartition(">")[2]
    part = call.part(class_name, layer.config, role=PART, weights=share, kwargs=kwargs)
    result = run_part(converter, part, x)
    if not isinstance(result, Tensor):
        raise call.unsupported("layer", layer.key, "a layer with one output")
    return result


def _share(call: Call, layer: Wrapped, converter: LayerConverter) -> Mapping[str, Array]:
    """Return the wrapped layer's share of the wrapper's arrays, under the converter's names."""
    if not isinstance(call.weights, StoredArrays):
        front = f"{PART}/"
        items = call.weights.items()
        return {k.removeprefix(front): array for k, array in items if k.startswith(front)}
    arrays = named_arrays(converter, layer.config, call.weights.wrapped(PART, _WRAPPERS_OWN))
    assert arrays is not None, "arrays are taken as stored only by converters that name none"
    return arrays
