"""Stand-ins for modules that a library imports at its top and that nobody here ever needs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class StandIn(ModuleType):
    """Stands for a module until it is used: it is imported then, and gives what is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks for marks of its own
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def standing_in(*names: str) -> Iterator[None]:
    """Let what is imported within find stand-ins for modules that are not imported yet.

    Behind it, importing one of them means the module itself again.
    """
    placed = {name: StandIn(name) for name in names if name not in sys.modules}
    sys.modules.update(placed)
    try:
        yield
    finally:
        for name, stand_in in placed.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
