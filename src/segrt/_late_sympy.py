"""Put off the import of SymPy until somebody computes with sizes that have names.

onnx_ir imports SymPy at its top, for arithmetic on symbolic sizes, which SegRT never does. SymPy
takes longer to import than all else that a verb needs, so while onnx_ir is being imported two
stand-ins lie where it looks: for SymPy, and for its own module that builds on it. What asks one of
them for anything gets it from the real module, imported then. Nothing else notices: as soon as
onnx_ir is there, ``import sympy`` means SymPy again.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from segrt._stand_ins import standing_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_LIBRARY = "onnx_ir"
_PUT_OFF = ("sympy", "onnx_ir._symbolic_shapes")


class _Loader:
    """Runs a module with the stand-ins in place."""

    def __init__(self, usual: Loader) -> None:
        self._usual = usual

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._usual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # From here on it is a module like any other, its source and data found as ever.
        module.__loader__ = self._usual
        if module.__spec__ is not None:
            module.__spec__.loader = self._usual
        with standing_in(*_PUT_OFF):
            self._usual.exec_module(module)


class _Finder:
    """Finds onnx_ir as Python would."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _LIBRARY:
            return None
        from importlib.machinery import PathFinder  # every `import segrt` passes this file

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


def put_off() -> None:
    """Let onnx_ir be imported without SymPy; does nothing where it is imported already."""
    found = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if _LIBRARY not in sys.modules and not found:
        sys.meta_path.insert(0, _Finder())
