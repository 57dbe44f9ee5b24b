"""Read settings of a layer's saved configuration, with their types and ranges checked.

A configuration comes from a file and may hold anything. Every reader here returns a value of the
promised type or raises `UnsupportedConfigError` that names layer, setting, found and wanted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from segrt.importers.layers._base import Call

# No real layer has a larger size; far below where products of two would leave 64 bits.
LARGEST = 1 << 20
_DEEPEST = 8


class _Required:
    """Says that a setting has no default."""


REQUIRED = _Required()


def setting(call: Call, key: str, default: object, wanted: str) -> Any:
    """Return the raw setting; ``default`` where it is missing.

    Raises:
        UnsupportedConfigError: It is missing and ``default`` is `REQUIRED`.
    """
    if key in call.config:
        return call.config[key]
    if isinstance(default, _Required):
        raise call.unsupported(key, "nothing", wanted)
    return default


def integer(
    call: Call, key: str, default: object = REQUIRED, *, low: int = 1, high: int = LARGEST
) -> int:
    """Return an integer between ``low`` and ``high``, both included."""
    wanted = f"an integer from {low} to {high}"
    value = _as_int(setting(call, key, default, wanted))
    if value is None or not low <= value <= high:
        raise call.unsupported(key, call.config.get(key), wanted)
    return value


def sizes(
    call: Call,
    key: str,
    count: int,
    default: object = REQUIRED,
    *,
    low: int = 1,
    high: int = LARGEST,
) -> tuple[int, ...]:
    """Return ``count`` integers, one a spatial axis, from one integer for all or a list."""
    wanted = f"{'one integer' if count == 1 else f'one or {count} integers'} from {low} to {high}"
    found = setting(call, key, default, wanted)
    items = found if isinstance(found, list | tuple) else [found] * count
    values = [value for value in map(_as_int, items) if value is not None and low <= value <= high]
    if len(values) != count or len(items) != count:
        raise call.unsupported(key, found, wanted)
    return tuple(values)


def borders(call: Call, key: str, count: int, default: object) -> list[tuple[int, int]]:
    """Return (before, after) for each of ``count`` spatial axes.

    Keras writes one integer for all, one for each axis, or a pair for each; with a single axis
    two integers are the pair.
    """
    wanted = f"n, {count} integers or {count} pairs [before, after], each from 0 to {LARGEST}"
    found = setting(call, key, default, wanted)
    outer = found if isinstance(found, list | tuple) else [found] * count
    if count == 1 and len(outer) == 2:
        outer = [outer]
    sides = [item if isinstance(item, list | tuple) else [item, item] for item in outer]
    numbers = [
        number
        for side in sides
        for number in map(_as_int, side)
        if number is not None and 0 <= number <= LARGEST
    ]
    if [len(side) for side in sides] != [2] * count or len(numbers) != 2 * count:
        raise call.unsupported(key, found, wanted)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def integers(call: Call, key: str, default: object = REQUIRED) -> list[int]:
    """Return a list of integers from an integer or a list; a range is the caller's to check."""
    wanted = "an integer or a list of integers"
    found = setting(call, key, default, wanted)
    items = found if isinstance(found, list | tuple) else [found]
    values = [value for value in map(_as_int, items) if value is not None]
    if len(values) != len(items) or any(abs(value) > 1 << 40 for value in values):
        raise call.unsupported(key, found, wanted)
    return values


def axis(call: Call, key: str = "axis", default: int = -1) -> int:
    """Return one axis from ``-1``, ``3`` or ``[3]``."""
    values = integers(call, key, default)
    if len(values) != 1:
        raise call.unsupported(key, values, "one axis")
    return values[0]


def choice(call: Call, key: str, choices: tuple[str, ...], default: object = REQUIRED) -> str:
    """Return one of ``choices``; upper and lower case are one, as in Keras."""
    wanted = " or ".join(choices)
    found = setting(call, key, default, wanted)
    if not isinstance(found, str) or found.lower() not in choices:
        raise call.unsupported(key, found, wanted)
    return found.lower()


def flag(call: Call, key: str, default: bool) -> bool:
    """Return a truth value; null is the default."""
    found = setting(call, key, default, "true or false")
    if found is None:
        return default
    if found not in (True, False, 0, 1):
        raise call.unsupported(key, found, "true or false")
    return bool(found)


def number(call: Call, key: str, default: object = REQUIRED) -> float:
    """Return a finite number; Keras' serialised NumPy scalars count."""
    found = setting(call, key, default, "a finite number")
    array = as_array(found)
    if array is None or array.size != 1 or not math.isfinite(value := float(array.reshape(())[()])):
        raise call.unsupported(key, found, "a finite number")
    return value


def optional_number(call: Call, key: str) -> float | None:
    """Return a finite number, or None where the setting is missing or null."""
    return None if call.config.get(key) is None else number(call, key)


def numbers(call: Call, key: str, default: object = REQUIRED) -> npt.NDArray[np.float64]:
    """Return finite numbers of any shape (a scalar has rank 0)."""
    found = setting(call, key, default, "finite numbers")
    array = as_array(found)
    if array is None or not np.isfinite(array).all():
        raise call.unsupported(key, found, "finite numbers")
    return array


def as_array(found: object) -> npt.NDArray[np.float64] | None:
    """Read numbers as Keras versions write them, None for anything else.

    Plain numbers and nested lists; ``{"class_name": "__numpy__", "config": {"value": ...}}`` and
    ``__tensor__``; ``{"type": "ndarray", "value": ...}`` of the oldest files.
    """
    for _ in range(_DEEPEST):
        if not isinstance(found, Mapping):
            break
        inner = found.get("config") if "config" in found else found
        found = inner.get("value") if isinstance(inner, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int | float | list | tuple):
        return None
    if not _only_numbers(found, 0):
        return None
    try:
        return np.asarray(found, dtype=np.float64)
    except (ValueError, OverflowError):
        return None


def _only_numbers(found: object, depth: int) -> bool:
    if isinstance(found, list | tuple):
        return depth < _DEEPEST and all(_only_numbers(item, depth + 1) for item in found)
    return isinstance(found, int | float) and not isinstance(found, bool)


def _as_int(found: object) -> int | None:
    if isinstance(found, Mapping):
        array = as_array(found)
        found = float(array) if array is not None and array.ndim == 0 else None
    if isinstance(found, float) and math.isfinite(found) and found.is_integer():
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None
