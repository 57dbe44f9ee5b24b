"""Strict reading of JSON values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def is_a(kind: type[T], value: object) -> T:
    """Return ``value`` if it is of a kind.

    Raises:
        TypeError: It is not.
    """
    # A bool is an int to Python; in a manifest it is not.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r:.80} is no {kind.__name__}")
    return value


def each(read: Callable[[Any], T], values: object) -> tuple[T, ...]:
    """Read every item of a list."""
    return tuple(read(value) for value in is_a(list, values))
