"""Known custom layers: recognised by name and settings, converted from their published definition.

A file says a custom class' name and settings and not its code. A class is taken for the published
one of that name only if its settings are exactly those that the published one writes; where the
file also says the package and it is another one, the user is told. Anything else is refused: a
layer that shares a name may compute something else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from segrt._registry import Registry
from segrt.importers._layer_graph import KerasLayer
from segrt.importers.layers._base import (
    Call,
    Converter,
    LayerConverter,
    Tensor,
    WeightSpecs,
    as_stored,
)

# What Keras itself writes for every layer, in any version.
_COMMON = {
    "name", "trainable", "dtype", "batch_input_shape", "batch_shape", "input_shape", "dynamic",
    "autocast", "activity_regularizer", "supports_masking", "ragged", "sparse",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class KnownLayer:
    """One published definition.

    Attributes:
        class_name: As saved.
        origin: Who published it, for people: ``tensorflow-addons``.
        packages: Beginnings of the packages or modules under which it is saved.
        required: Settings that it always writes.
        optional: Settings that some of its versions write.
        only_packaged: Take it only under one of ``packages``: a class of this name without one is
            somebody else's.
        converter: Converts it.
    """

    class_name: str
    origin: str
    packages: tuple[str, ...]
    required: frozenset[str]
    optional: frozenset[str]
    only_packaged: bool
    converter: LayerConverter

    def fits(self, layer: KerasLayer) -> bool:
        """Say whether a layer has the settings of this definition, and may be of its package."""
        written = set(layer.config) - _COMMON
        if not self.required <= written or written - self.required - self.optional:
            return False
        return self.at_home(layer) or not self.only_packaged

    def at_home(self, layer: KerasLayer) -> bool:
        """Say whether the layer was saved under a package of this definition."""
        return any(
            layer.package == package or layer.package.startswith(f"{package}.")
            for package in self.packages
        )


REGISTRY: Registry[KnownLayer] = Registry("known layer", "segrt.importers.known")


def known_layer(
    *class_names: str,
    origin: str,
    packages: Sequence[str] = (),
    required: Sequence[str] = (),
    optional: Sequence[str] = (),
    only_packaged: bool = False,
    weights: WeightSpecs | None = None,
) -> Callable[[Converter], Converter]:
    """Register a published definition; see `KnownLayer` for the arguments.

    Without ``weights`` it owns none: a layer that does is another one, and refused.
    """

    def decorate(convert: Converter) -> Converter:
        entry_point = _without_arrays(convert, origin) if weights is None else convert
        for name in class_names:
            entry = KnownLayer(
                name,
                origin,
                tuple(packages),
                frozenset(required),
                frozenset(optional),
                only_packaged,
                LayerConverter(entry_point, weights or as_stored),
            )
            key = f"{origin}>{name}({','.join(sorted(entry.required))})"
            REGISTRY.register(key)(entry)
        return convert

    return decorate


def _without_arrays(convert: Converter, origin: str) -> Converter:
    @functools.wraps(convert)
    def checked(call: Call, *args: Any) -> Tensor | Sequence[Tensor]:
        # The state of a random generator is no parameter.
        found = [name for name, array in call.weights.items() if array.dtype.kind == "f"]
        if found:
            raise call.unsupported("weights", found, f"none: {origin}'s {call.class_name} has none")
        return convert(call, *args)

    return checked


def recognise(layer: KerasLayer) -> tuple[LayerConverter | None, str]:
    """Return the converter of a known custom layer and a remark; (None, "") for any other."""
    fitting = [entry for entry in _of_class(layer) if entry.fits(layer)]
    chosen = next((entry for entry in fitting if entry.at_home(layer)), None)
    if chosen is None and fitting:
        chosen = fitting[0]
    if chosen is None:
        return None, ""
    foreign = layer.package and not chosen.at_home(layer) and layer.package != "Custom"
    where = f" (saved by {layer.package})" if foreign else ""
    return chosen.converter, (
        f"layers of class {layer.class_name}{where} taken as those of {chosen.origin}, by name and "
        "settings; verify against a recording"
    )


def near_misses(layer: KerasLayer) -> str:
    """Say why a class that shares a known one's name was not taken for it; "" where none does."""
    reasons = []
    written = set(layer.config) - _COMMON
    for entry in _of_class(layer):
        extra = sorted(written - entry.required - entry.optional)
        missing = sorted(entry.required - written)
        parts = [f"has {', '.join(extra)}"] if extra else []
        parts += [f"lacks {', '.join(missing)}"] if missing else []
        reasons.append(f"{entry.origin}'s {'; '.join(parts) or 'is saved under its package'}")
    return " / ".join(dict.fromkeys(reasons))


def _of_class(layer: KerasLayer) -> list[KnownLayer]:
    return [entry for _, entry in REGISTRY if entry.class_name == layer.class_name]
