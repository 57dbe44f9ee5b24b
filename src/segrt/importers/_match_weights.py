"""Which stored array is which of a layer's weights: by name, by part, else by position.

Older files name an array by its last part (``query/kernel`` is ``kernel``), newer ones by the path
of attributes and a number (``query_dense/0``). A converter names its parts as Keras' attributes
(``query_dense/kernel``), so that both can be told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from segrt.importers._layer_graph import WeightEntry


def in_order(wanted: Sequence[str], stored: Sequence[WeightEntry]) -> list[WeightEntry] | None:
    """Return the entries in the order of ``wanted``; None where their number does not fit."""
    by_path = _by_part(wanted, stored)
    if by_path is not None:
        return by_path
    if len(wanted) != len(stored):
        return None
    for names in (list(wanted), [name.rpartition("/")[2] for name in wanted]):
        by_name = {entry.name: entry for entry in stored}
        if len(by_name) == len(stored) and set(by_name) == set(names):
            return [by_name[name] for name in names]
    return list(stored)


def _by_part(wanted: Sequence[str], stored: Sequence[WeightEntry]) -> list[WeightEntry] | None:
    """Match arrays numbered within parts; None for a layer without parts or another layout.

    A wrapper that tracks its part's kernel too stores it a second time, before its own arrays.
    """
    parts: dict[str, list[WeightEntry]] = {}
    for entry in stored:
        part, _, number = entry.name.rpartition("/")
        if not number.isdigit():
            return None
        parts.setdefault(_attribute(part), []).append(entry)
    shares: dict[str, int] = {}
    for name in wanted:
        part = name.rpartition("/")[0]
        shares[part] = shares.get(part, 0) + 1
    if set(shares) == {""} or set(shares) != set(parts):
        return None
    left = {}
    for part, count in shares.items():
        surplus = len(parts[part]) - count
        if surplus < 0 or (surplus and part):
            return None
        left[part] = iter(parts[part][surplus:])
    return [next(left[name.rpartition("/")[0]]) for name in wanted]


def _attribute(path: str) -> str:
    """Return an attribute path without the underscores of private ones, which came and went."""
    return "/".join(part.lstrip("_") for part in path.split("/"))


def snake_case(class_name: str) -> str:
    """Return the group name Keras derives from a class name (``PReLU`` -> ``p_re_lu``).

    The rule is that of ``keras.src.utils.naming.to_snake_case``.
    """
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
