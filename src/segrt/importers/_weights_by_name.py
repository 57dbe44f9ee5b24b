"""Weights of Keras' older HDF5 layout: groups by layer name, order in attributes.

``<root>/<layer>`` with the attributes ``layer_names`` on the root and ``weight_names`` on each
layer. A nested model has one group for all its layers: by the full weight name where that is
unambiguous, else by Keras' order: all trainable arrays first, layer by layer, then the others.
"""

from __future__ import annotations

from collections import Counter

import h5py

from segrt.errors import ModelFileError
from segrt.importers._hdf5 import get_dataset, get_group, read_dataset, text_list_attribute
from segrt.importers._layer_graph import KerasLayer, LayerGraph, WeightEntry, walk_layers
from segrt.importers._specs import may_own_arrays, owns_arrays, takes_all_arrays, weight_specs


def bind(graph: LayerGraph, root: h5py.Group, file: str) -> list[str]:
    """Give every layer of ``graph`` its arrays.

    Returns:
        Remarks for the user.

    Raises:
        ModelFileError: A layer's arrays are missing or cannot be told apart.
    """
    stored = text_list_attribute(root, "layer_names", file)
    if stored is None:
        raise ModelFileError(
            f"{file} holds no Keras weights",
            found="no attribute 'layer_names'",
            hint="save the whole model with model.save('model.h5')",
        )
    groups = {name: _entries(root, name, file) for name in stored}
    full = {name: entries for name, entries in groups.items() if entries}
    owners = {
        name: layer
        for name, layer in graph.layers.items()
        if owns_arrays(layer) or (name in full and may_own_arrays(layer))
    }
    remarks: list[str] = []
    missing = [name for name in owners if name not in full]
    if len(missing) == len(owners) > len(full) == 1:
        return [_of_a_wrapper(graph, *full.popitem(), file)]
    if missing:
        # Weights saved from a model whose layers were numbered otherwise: Keras loads them by
        # position, which is right only if both have the same number of layers with weights.
        if len(full) != len(owners):
            raise ModelFileError(
                f"{file} lacks the weights of {len(missing)} layer(s)",
                found=f"weights for {_some(list(full))}",
                wanted=f"weights for {_some(missing)}",
                hint="give the architecture the weights were saved from",
            )
        remarks.append("layer names differ between architecture and weights: matched by position")
        full = dict(zip(owners, full.values(), strict=True))
    surplus = [name for name in full if name not in owners]
    if surplus:
        remarks.append(surplus_remark(surplus))
    for name, layer in owners.items():
        _give(layer, full[name], file)
    return remarks


def _of_a_wrapper(graph: LayerGraph, name: str, entries: list[WeightEntry], file: str) -> str:
    """Bind weights saved from a model that held this one as its only layer with weights."""
    _give(KerasLayer(name, "Model", "", {}, [], model=graph), entries, file)
    return (
        f"the weights were saved from a model around this one, {name!r} in it (multi_gpu_model "
        "makes such): they are taken as this one's"
    )


def _entries(root: h5py.Group, layer: str, file: str) -> list[WeightEntry]:
    group = get_group(root, layer, file)
    names = text_list_attribute(group, "weight_names", file) or []
    return [make_entry(group, name, file) for name in names]


def surplus_remark(names: list[str]) -> str:
    """Say that a file holds weights for layers that the architecture does not have."""
    return f"the file holds weights that the architecture has no layer for: {_some(names)}"


def make_entry(group: h5py.Group, name: str, file: str) -> WeightEntry:
    """Describe the dataset ``name`` of ``group``; `WeightEntry.load` reads it."""
    dataset = get_dataset(group, name, file)
    return WeightEntry(
        path=f"{group.name}/{name}",
        name=name.rsplit("/", 1)[-1].removesuffix(":0"),
        shape=tuple(dataset.shape),
        dtype=str(dataset.dtype),
        load=lambda: read_dataset(dataset, file),
    )


def _give(layer: KerasLayer, entries: list[WeightEntry], file: str) -> None:
    if layer.model is None:
        layer.weights = entries
        return
    inner = [
        one
        for _, one in walk_layers(layer.model)
        if one.model is None and (weight_specs(one) or takes_all_arrays(one))
    ]
    shares = _by_name(inner, entries) or _by_order(layer, inner, entries, file)
    for one, share in zip(inner, shares, strict=True):
        one.weights = share


def _by_name(inner: list[KerasLayer], entries: list[WeightEntry]) -> list[list[WeightEntry]] | None:
    """Share out by the layer's name inside the weight's; None where that is ambiguous."""
    if max(Counter(one.name for one in inner).values(), default=0) > 1:
        return None
    shares: dict[str, list[WeightEntry]] = {one.name: [] for one in inner}
    for entry in entries:
        parts = entry.path.split("/")[:-1]
        owner = next((part for part in reversed(parts) if part in shares), None)
        if owner is None:
            return None
        shares[owner].append(entry)
    declared = [one for one in inner if not takes_all_arrays(one)]
    if any(len(shares[one.name]) != len(weight_specs(one)) for one in declared):
        return None
    return [shares[one.name] for one in inner]


def _by_order(
    layer: KerasLayer, inner: list[KerasLayer], entries: list[WeightEntry], file: str
) -> list[list[WeightEntry]]:
    """Share out in the order of Keras' ``trainable_weights + non_trainable_weights``."""
    trainable = [
        (index, position)
        for index, one in enumerate(inner)
        for position, spec in enumerate(weight_specs(one))
        if spec.trainable and one.config.get("trainable", True)
    ]
    chosen = set(trainable)
    others = [
        (index, position)
        for index, one in enumerate(inner)
        for position in range(len(weight_specs(one)))
        if (index, position) not in chosen
    ]
    if len(entries) != len(trainable) + len(others):
        undeclared = [one.class_name for one in inner if takes_all_arrays(one)]
        raise ModelFileError(
            f"{file}: nested model {layer.name!r} does not match its weights",
            found=f"{len(entries)} arrays",
            wanted=f"{len(trainable) + len(others)} arrays",
            hint=f"declare the arrays of {', '.join(dict.fromkeys(undeclared))}: "
            "@segrt.keras_layer(..., weights=...)"
            if undeclared
            else None,
        )
    placed = dict(zip(trainable + others, entries, strict=True))
    return [
        [placed[index, position] for position in range(len(weight_specs(one)))]
        for index, one in enumerate(inner)
    ]


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
