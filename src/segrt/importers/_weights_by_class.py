"""Weights of Keras' newer HDF5 layout (``.weights.h5``): groups numbered per class.

``layers/<snake_class>[_N]/vars/<i>``, in the order in which layers of a class appear in the model,
not by layer name. Some versions write the layer's name as attribute ``name`` of ``vars``; Keras
2.12 calls the container ``_layer_checkpoint_dependencies`` and leaves gaps in the numbering.
Hence: within a class, groups that hold arrays go, in ascending number, to the layers that own
arrays. Arrays of layers inside layers follow attribute paths (``query_dense/vars/0``).
"""

from __future__ import annotations

import re

import h5py

from segrt.errors import ModelFileError
from segrt.importers._hdf5 import children, get_group, text_attribute
from segrt.importers._layer_graph import KerasLayer, LayerGraph, WeightEntry
from segrt.importers._match_weights import snake_case
from segrt.importers._model_config import MODEL_CLASSES
from segrt.importers._specs import may_own_arrays, owns_arrays
from segrt.importers._weights_by_name import make_entry, surplus_remark
from segrt.importers.layers._wrapped import PART

_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
# Groups are called after the Python class, configurations after the public name; a Functional
# model's was Model before Keras 2.4.
_PYTHON_NAMES = {"GroupQueryAttention": "GroupedQueryAttention", "Model": "Functional"}


def holds_this_layout(root: h5py.Group) -> bool:
    """Say whether ``root`` has one of the layout's containers."""
    return any(container in root for container in _CONTAINERS)


def bind(graph: LayerGraph, root: h5py.Group, file: str) -> list[str]:
    """Give every layer of ``graph`` its arrays; returns remarks for the user.

    Raises:
        ModelFileError: A layer's arrays are missing.
    """
    container = next((name for name in _CONTAINERS if name in root), None)
    if container is None:
        raise ModelFileError(
            f"{file}: no weights for model {graph.name!r}",
            found=f"groups {', '.join(children(root, file)[:8]) or 'none'}",
            wanted=f"a group named {' or '.join(_CONTAINERS)}",
        )
    holder = get_group(root, container, file)
    by_class: dict[str, list[str]] = {}
    for name in sorted(children(holder, file), key=_number):
        if _has_arrays(get_group(holder, name, file), file):
            by_class.setdefault(_stem(name), []).append(name)
    owners: dict[str, list[KerasLayer]] = {}
    for layer in graph.layers.values():
        if owns_arrays(layer) or may_own_arrays(layer):
            owners.setdefault(_group_stem(layer), []).append(layer)
    surplus = [name for stem, names in by_class.items() if stem not in owners for name in names]
    remarks = [surplus_remark(surplus)] if surplus else []
    for stem, candidates in owners.items():
        names = by_class.get(stem, [])
        layers = candidates
        if len(names) != len(candidates):  # then those that need not own any own none
            layers = [layer for layer in candidates if owns_arrays(layer)]
        if len(names) != len(layers):
            raise ModelFileError(
                f"{file}: weights of {candidates[0].class_name} layers do not match the "
                "architecture",
                found=f"{len(names)} group(s) {stem}*",
                wanted=f"{len(candidates)}: " + ", ".join(layer.name for layer in candidates[:8]),
                hint="give the architecture these weights were saved from",
            )
        for layer, name in zip(_in_file_order(layers, holder, names, file), names, strict=True):
            group = get_group(holder, name, file)
            if layer.model is not None:
                wrapper = layer.class_name not in MODEL_CLASSES
                inner = get_group(group, PART, file) if wrapper else group
                remarks += bind(layer.model, inner, file)
            else:
                layer.weights = _entries(group, file, "")
    return remarks


def _group_stem(layer: KerasLayer) -> str:
    return snake_case(_PYTHON_NAMES.get(layer.class_name, layer.class_name))


def _in_file_order(
    layers: list[KerasLayer], holder: h5py.Group, names: list[str], file: str
) -> list[KerasLayer]:
    """Order layers as the groups are, by the names in the file where it has them all."""
    by_name = {layer.name: layer for layer in layers}
    written = [_written_name(get_group(holder, name, file), file) for name in names]
    if set(written) == set(by_name):
        return [by_name[name] for name in written if name is not None]
    return layers


def _written_name(group: h5py.Group, file: str) -> str | None:
    if "vars" not in group:
        return None
    return text_attribute(get_group(group, "vars", file), "name", file)


def _has_arrays(group: h5py.Group, file: str, depth: int = 0) -> bool:
    """Say whether any ``vars`` below holds arrays other than a random generator's state."""
    if depth > 32:
        raise ModelFileError(f"{file}: groups nested absurdly deep at {group.name}")
    for name in children(group, file):
        member = group[name]
        if name == "seed_generator" or not isinstance(member, h5py.Group):
            continue
        if name == "vars" and len(member):
            return True
        if _has_arrays(member, file, depth + 1):
            return True
    return False


def _entries(group: h5py.Group, file: str, prefix: str, depth: int = 0) -> list[WeightEntry]:
    """Return a layer's own arrays first, then those of the layers it holds, by attribute path."""
    if depth > 32:
        raise ModelFileError(f"{file}: groups nested absurdly deep at {group.name}")
    found: list[WeightEntry] = []
    names = children(group, file)
    if "vars" in names:
        holder = get_group(group, "vars", file)
        for name in sorted(children(holder, file), key=_number):
            entry = make_entry(holder, name, file)
            found.append(
                WeightEntry(entry.path, prefix + entry.name, entry.shape, entry.dtype, entry.load)
            )
    for name in names:
        if name not in ("vars", "seed_generator") and isinstance(group[name], h5py.Group):
            found += _entries(get_group(group, name, file), file, f"{prefix}{name}/", depth + 1)
    return found


def _stem(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _number(name: str) -> tuple[str, int]:
    """Sort key: ``conv2d`` before ``conv2d_1`` before ``conv2d_10``; ``2`` before ``10``."""
    match = re.fullmatch(r"(.*?)_?(\d+)?", name)
    stem, number = match.groups() if match else (name, None)
    return stem, int(number) if number else 0
