"""List the arrays of a Keras file as they lie there, whatever layers the model has.

Nothing is converted and no converter is needed: Lambdas and unknown classes are listed like all.
The meaning of the axes follows from the layer's class: by its name in the configuration where the
file has one, else by the group's name (``conv2d_transpose_1``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from segrt.errors import ModelFileError, UnsafeFileError
from segrt.importers import _hdf5
from segrt.importers._json import parse_object
from segrt.importers._match_weights import snake_case
from segrt.importers.keras_archive import KerasArchive, open_archive

_MAX_DEPTH = 64
# Snake-case class -> axes of its weights by their number in Keras' order, or by name.
_KERNELS = {
    "conv1d": "W I O", "conv2d": "H W I O", "conv3d": "D H W I O", "convolution2d": "H W I O",
    "conv2d_transpose": "H W O I", "conv3d_transpose": "D H W O I", "depthwise_conv2d": "H W I M",
    "dense": "I O",
}  # fmt: skip
_BY_NAME = {"depthwise_kernel": "H W I M", "pointwise_kernel": "1 1 I O"}
_NUMBER = re.compile(r"_\d+$")


@dataclass(frozen=True, slots=True)
class StoredArray:
    """One dataset.

    Attributes:
        path: Inside the file, ``/model_weights/conv/conv/kernel:0``.
        layer: The Keras layer it belongs to as far as the file tells, else "".
        class_name: That layer's class, "" where the file does not tell.
        shape: As stored.
        dtype: NumPy's name of the stored type.
        layout: What the axes are, such as ``H W I O``; "" where that is not known.
        stored_bytes: What it takes in the file.
    """

    path: str
    layer: str
    class_name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class WeightListing:
    """What a file holds.

    Attributes:
        file: Its name.
        groups: Every HDF5 group, in the file's order.
        arrays: Every dataset, in the file's order.
    """

    file: str
    groups: tuple[str, ...]
    arrays: tuple[StoredArray, ...]


def list_weights(path: Path) -> WeightListing:
    """List groups and arrays of an ``.h5``, ``.keras`` or ``.weights.h5`` file.

    Raises:
        ModelFileError: No such file, damaged, or neither HDF5 nor a Keras archive.
    """
    if not path.is_file():
        raise ModelFileError(f"no such model file: {path}", hint="check the path")
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(_hdf5.SIGNATURE):
        with _hdf5.open_hdf5(path, path.name) as file:
            text = _hdf5.text_attribute(file, "model_config", path.name)
            return _listing(file, path.name, _classes(text, path.name))
    if KerasArchive().recognises(head):
        with open_archive(path) as (config, file):
            return _listing(file, path.name, _classes(config, path.name))
    raise ModelFileError(
        f"{path.name} holds no Keras weights that can be listed",
        found=f"a file that begins with {head!r}",
        wanted="HDF5 (.h5, .weights.h5) or a Keras archive (.keras)",
    )


def _listing(file: h5py.File, name: str, classes: dict[str, str]) -> WeightListing:
    groups: list[str] = []
    arrays: list[StoredArray] = []
    for member in _members(file, name, 0):
        if isinstance(member, h5py.Group):
            groups.append(str(member.name))
        else:
            arrays.append(_describe(member, classes, name))
    return WeightListing(name, tuple(groups), tuple(arrays))


def _members(group: h5py.Group, file: str, depth: int) -> Iterator[h5py.Group | h5py.Dataset]:
    if depth > _MAX_DEPTH:
        raise UnsafeFileError(f"{file}: groups nested absurdly deep at {group.name}"[:200])
    for name in _hdf5.children(group, file):
        member = group[name]
        if isinstance(member, h5py.Group):
            yield member
            yield from _members(member, file, depth + 1)
        elif isinstance(member, h5py.Dataset):
            yield member


def _describe(dataset: h5py.Dataset, classes: dict[str, str], file: str) -> StoredArray:
    parts = str(dataset.name).strip("/").split("/")
    layer = next((part for part in reversed(parts[:-1]) if part in classes), "")
    if parts[-2:-1] == ["vars"]:
        layer = _written_name(dataset.parent, file) or layer
    class_name = classes.get(layer, "")
    stem = snake_case(class_name) if class_name else _stem_of(parts)
    role = parts[-1].removesuffix(":0")
    return StoredArray(
        path=str(dataset.name),
        layer=layer,
        class_name=class_name,
        shape=tuple(dataset.shape or ()),
        dtype=str(dataset.dtype),
        layout=_layout(stem, role, len(dataset.shape or ())),
        stored_bytes=int(dataset.id.get_storage_size()),
    )


def _layout(stem: str, role: str, rank: int) -> str:
    if rank <= 1:
        return "C" if rank else "scalar"
    if role in _BY_NAME:
        return _BY_NAME[role]
    if stem == "separable_conv2d" and role in ("0", "1"):
        return "H W I M" if role == "0" else "1 1 I O"
    # Kernels are the first array of their layer, the only one with more than one axis.
    axes = _KERNELS.get(stem, "")
    return axes if axes and len(axes.split()) == rank else ""


def _stem_of(parts: list[str]) -> str:
    """Return the class of a ``vars`` group's owner (``conv2d_1`` -> ``conv2d``), "" elsewhere."""
    if len(parts) < 3 or parts[-2] != "vars":
        return ""
    return _NUMBER.sub("", parts[-3])


def _written_name(group: h5py.Group, file: str) -> str:
    return _hdf5.text_attribute(group, "name", file) or ""


def _classes(text: str | bytes | None, file: str) -> dict[str, str]:
    """Return layer name -> class of every layer, nested ones too; {} without a configuration."""
    if not text:
        return {}
    found: dict[str, str] = {}
    front: list[Any] = [parse_object(text, f"the configuration of {file}")]
    while front:
        entry = front.pop()
        if isinstance(entry, list):
            front += entry
        elif isinstance(entry, dict):
            config, class_name = entry.get("config"), entry.get("class_name")
            if isinstance(config, dict) and isinstance(class_name, str):
                name = entry.get("name") or config.get("name")
                layers = config.get("layers")
                if isinstance(name, str) and not isinstance(layers, list):
                    found[name] = class_name.rpartition(">")[2]
                front.append(layers)
            elif isinstance(config, list):  # Sequential models of the oldest Keras
                front += config
    return found
