"""Registries that fill themselves from the plain files of one folder.

A file whose name starts with ``_`` is machinery and is not imported by the registry. Every other
file must register at least one thing, and no name may be registered twice.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class RegistryError(RuntimeError):
    """A registry's folder breaks its rules; a mistake in the code, not in the user's input."""


class Registry(Generic[T]):
    """Names to implementations, read from the modules of ``package`` on first use.

    Args:
        kind: What is registered, for messages (``Keras layer``).
        package: Dotted name of the folder whose plain modules register entries.

    Attributes:
        package: See above.
    """

    def __init__(self, kind: str, package: str) -> None:
        self._kind = kind
        self.package = package
        self._entries: dict[str, T] = {}
        self._loaded = False

    def register(self, *names: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under each of ``names``.

        Raises:
            RegistryError: A name is taken.
        """

        def decorate(entry: T) -> T:
            for name in names:
                if name in self._entries and self._entries[name] is not entry:
                    raise RegistryError(f"{self._kind} {name!r} is registered twice")
                self._entries[name] = entry
            return entry

        return decorate

    def replace(self, name: str, entry: T) -> None:
        """File another entry under a name; for what a user may define anew."""
        self._entries[name] = entry

    def load(self) -> None:
        """Import the folder's plain modules once.

        Raises:
            RegistryError: A module registered nothing.
        """
        if self._loaded:
            return
        folder = importlib.import_module(self.package)
        for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda info: info.name):
            if module.name.startswith("_") or module.ispkg:
                continue
            before = len(self._entries)
            qualified = f"{self.package}.{module.name}"
            imported_before = qualified in sys.modules
            importlib.import_module(qualified)
            if len(self._entries) == before and not imported_before:
                raise RegistryError(f"{qualified} registers no {self._kind}")
        self._loaded = True

    def find(self, name: str) -> T | None:
        """Return the entry called ``name``, or None."""
        self.load()
        return self._entries.get(name)

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        self.load()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[tuple[str, T]]:
        self.load()
        return iter(sorted(self._entries.items()))
