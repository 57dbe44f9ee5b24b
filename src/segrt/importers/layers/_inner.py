"""Which converter a class inside another layer gets: what was bound for this load comes first.

A layer inside a wrapper, or one that a converter applies as a part, is no layer of the model that
a converter could be chosen for beforehand; it is looked up by its class when it is met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from segrt.importers._layer_graph import JsonObject
from segrt.importers.layers._base import REGISTRY, LayerConverter

Lookup: TypeAlias = Callable[[str, JsonObject], LayerConverter | None]
_current: ContextVar[Lookup | None] = ContextVar("inner_converters", default=None)


@contextmanager
def looking_up(lookup: Lookup) -> Iterator[None]:
    """Ask ``lookup`` for the converters of classes inside other layers."""
    token = _current.set(lookup)
    try:
        yield
    finally:
        _current.reset(token)


def find(key: str, config: JsonObject) -> LayerConverter | None:
    """Return what converts a class inside another layer; None for a class without a converter.

    Args:
        key: The class, with its package in front where it is none of Keras' own.
        config: Its settings.
    """
    lookup = _current.get()
    return REGISTRY.find(key) if lookup is None else lookup(key, config)
