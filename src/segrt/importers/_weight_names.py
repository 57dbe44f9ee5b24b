"""Match the arrays a layer's converter asks for with those that a file holds for the layer.

Files name arrays in three ways: ``kernel`` (the last part of Keras' own name), by number where the
file keeps no names (``0``), and for layers that hold layers by attribute path and number
(``conv/0``). Converters name the arrays of parts by attribute path and name: ``conv/kernel``.
"""

from __future__ import annotations

from collections.abc import Sequence

from segrt.errors import ModelFileError
from segrt.importers._layer_graph import KerasLayer, WeightEntry
from segrt.importers._match_weights import in_order
from segrt.importers.layers._base import WeightSpec


def match(layer: KerasLayer, specs: Sequence[WeightSpec], name: str) -> dict[str, WeightEntry]:
    """Return a layer's arrays under the names that its converter uses.

    Args:
        layer: The layer; its arrays are bound.
        specs: What the converter asks for, in Keras' order.
        name: The layer's name, for messages.

    Raises:
        ModelFileError: The file holds another number of arrays.
    """
    entries = layer.weights
    wanted = [spec.name for spec in _in_file_order(layer, specs)]
    stored = [entry.name for entry in entries]
    found = in_order(wanted, entries)
    if found is None:
        raise ModelFileError(
            f"layer {name!r} ({layer.class_name}) has the wrong number of weights",
            found=f"{len(stored)}: {', '.join(stored) or 'none'}",
            wanted=f"{len(wanted)}: {', '.join(wanted) or 'none'}",
        )
    return dict(zip(wanted, found, strict=True))


def stored_names(entries: Sequence[WeightEntry]) -> list[str]:
    """Return names for arrays as they are stored, short and unlike each other.

    The last part of each name where that tells them apart (``kernel``), else the path inside the
    layer (``conv/kernel``), else numbers.
    """
    last = [entry.name for entry in entries]
    if _distinct(last):
        return last
    paths = [entry.path.removesuffix(":0").split("/") for entry in entries]
    common = 0
    while min(map(len, paths)) > common + 1 and len({path[common] for path in paths}) == 1:
        common += 1
    inside = ["/".join(path[common:]) for path in paths]
    return inside if _distinct(inside) else [str(index) for index in range(len(entries))]


def _in_file_order(layer: KerasLayer, specs: Sequence[WeightSpec]) -> list[WeightSpec]:
    """Return the specs as files order them.

    Keras writes trainable arrays first, then the others. In a frozen layer none is trainable: its
    own come first, then part by part.
    """
    if layer.config.get("trainable", True) or not any("/" in spec.name for spec in specs):
        return list(specs)
    parts = list(dict.fromkeys(_part(spec) for spec in specs if _part(spec)))
    return sorted(specs, key=lambda spec: 1 + parts.index(_part(spec)) if _part(spec) else 0)


def _part(spec: WeightSpec) -> str:
    first, slash, _ = spec.name.partition("/")
    return first if slash else ""


def _distinct(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names)
