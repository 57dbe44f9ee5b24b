"""Guarded reading of HDF5: nothing outside the file, nothing larger than it can be.

HDF5 can point to other files (external links, external storage, virtual datasets), can load
filter plugins, and can declare a dataset of any size in a few bytes. Model files need none of
that, so each is refused before memory is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from segrt.errors import ModelFileError, UnsafeFileError
from segrt.importers._hdf5_probe import attribute_bytes, probe
from segrt.importers._layer_graph import Array

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Filters built into every HDF5 library; any other would be loaded as a plugin.
_BUILT_IN_FILTERS = {"gzip", "lzf", "szip", None}
# Trained weights barely compress (about 1.1x); all-zero arrays do, so small ones are let through.
_MAX_COMPRESSION = 1100
_ALWAYS_ALLOWED_BYTES = 1 << 20
_MAX_ATTRIBUTE_BYTES = 64 << 20


@contextmanager
def open_hdf5(path: Path, name: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, after a trial in a process of its own.

    Args:
        path: The file.
        name: How messages call it.

    Raises:
        ModelFileError: It is not HDF5, is truncated, or breaks while it is read.
    """
    trouble = probe(path)
    if trouble is not None:
        raise _damaged(name, trouble)
    try:
        with h5py.File(path, "r") as opened:
            yield opened
    except ModelFileError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        raise _damaged(name, str(error)) from error


def _damaged(name: str, trouble: str) -> ModelFileError:
    return ModelFileError(
        f"{name} cannot be read as HDF5: it is damaged or truncated",
        found=trouble[:200],
        hint="copy or download the file again and compare its size",
    )


def get_group(parent: h5py.Group, name: str, file: str) -> h5py.Group:
    """Return the subgroup ``name``; see `_member`."""
    member = _member(parent, name, file)
    if not isinstance(member, h5py.Group):
        raise ModelFileError(f"{file}: {parent.name}/{name} is not a group")
    return member


def get_dataset(parent: h5py.Group, name: str, file: str) -> h5py.Dataset:
    """Return the dataset ``name`` after checking that it is safe to read.

    Raises:
        ModelFileError: It is missing, or holds neither numbers nor a known compression.
        UnsafeFileError: It lies outside the file or declares more than the file can hold.
    """
    dataset = _member(parent, name, file)
    where = f"{file}: {parent.name}/{name}"
    if not isinstance(dataset, h5py.Dataset):
        raise ModelFileError(f"{where} is not a dataset")
    if dataset.is_virtual or dataset.external:
        raise UnsafeFileError(
            f"{where} keeps its data in another file", wanted="data inside the model file"
        )
    if dataset.dtype.kind not in "fiub":
        raise ModelFileError(
            f"{where} does not hold numbers", found=str(dataset.dtype), wanted="floats or integers"
        )
    if dataset.compression not in _BUILT_IN_FILTERS or _foreign_filters(dataset):
        raise UnsafeFileError(
            f"{where} needs a compression plugin", wanted="gzip, lzf or no compression"
        )
    declared = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    plausible = stored * (_MAX_COMPRESSION if dataset.chunks else 1)
    if declared > max(plausible, _ALWAYS_ALLOWED_BYTES):
        raise UnsafeFileError(
            f"{where} declares more data than the file holds",
            found=f"{declared} bytes declared, {stored} bytes stored",
            hint="the file is truncated or was tampered with",
        )
    return dataset


def read_dataset(dataset: h5py.Dataset, file: str) -> Array:
    """Read a dataset that `get_dataset` returned.

    Raises:
        ModelFileError: The data is damaged.
    """
    try:
        array: Array = dataset[()]
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelFileError(
            f"{file}: {dataset.name} is damaged", found=str(error)[:200]
        ) from error
    return np.asarray(array)


def text_attribute(holder: h5py.Group, name: str, file: str) -> str | None:
    """Return a text attribute, None where it is absent."""
    if name not in holder.attrs:
        return None
    value = _attribute(holder, name, file)
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise ModelFileError(f"{file}: attribute {name!r} is not text", found=type(value).__name__)
    return value


def text_list_attribute(holder: h5py.Group, name: str, file: str) -> list[str] | None:
    """Return a list of texts, joined from ``name0``, ``name1`` ... where it was split.

    Keras splits lists that exceed HDF5's 64 KiB header limit. An empty list may be stored as
    float64.
    """
    if name in holder.attrs:
        return _texts(_attribute(holder, name, file))
    if f"{name}0" not in holder.attrs:
        return None
    texts: list[str] = []
    count = 0
    while f"{name}{count}" in holder.attrs:
        texts += _texts(_attribute(holder, f"{name}{count}", file))
        count += 1
    return texts


def children(group: h5py.Group, file: str) -> list[str]:
    """Return the names of a group's members, refusing links that leave the file."""
    names = list(group.keys())
    for name in names:
        _refuse_link(group, name, file)
    return names


def _member(parent: h5py.Group, name: str, file: str) -> Any:
    holder = parent
    parts = [part for part in name.split("/") if part]
    if ".." in parts or not parts:
        raise UnsafeFileError(f"{file}: the name {name!r} leaves its group")
    for part in parts:
        if not isinstance(holder, h5py.Group) or part not in holder:
            raise ModelFileError(
                f"{file}: {parent.name}/{name} is missing",
                hint="the weights do not belong to this architecture, or the file is incomplete",
            )
        _refuse_link(holder, part, file)
        holder = holder[part]
    return holder


def _refuse_link(group: h5py.Group, name: str, file: str) -> None:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
        raise UnsafeFileError(
            f"{file}: {group.name}/{name} is a link",
            found=f"link to {getattr(link, 'filename', '')}{link.path!r}"[:200],
            wanted="data inside the model file",
        )


def _foreign_filters(dataset: h5py.Dataset) -> bool:
    # Deflate 1, shuffle 2, fletcher32 3, szip 4, nbit 5, scaleoffset 6; lzf is h5py's own 32000.
    plist = dataset.id.get_create_plist()
    codes = {plist.get_filter(index)[0] for index in range(plist.get_nfilters())}
    return not codes <= {1, 2, 3, 4, 5, 6, 32000}


def _attribute(holder: h5py.Group, name: str, file: str) -> Any:
    size = attribute_bytes(holder, name)
    if size > _MAX_ATTRIBUTE_BYTES:
        raise UnsafeFileError(f"{file}: attribute {name!r} is too large", found=f"{size} bytes")
    try:
        return holder.attrs[name]
    except (OSError, RuntimeError, TypeError, UnicodeDecodeError) as error:
        raise ModelFileError(
            f"{file}: attribute {name!r} cannot be read", found=str(error)[:200]
        ) from error


def _texts(value: Any) -> list[str]:
    items = np.asarray(value).reshape(-1).tolist() if not isinstance(value, list) else value
    if not all(isinstance(item, str | bytes) for item in items):
        return []
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in items]
