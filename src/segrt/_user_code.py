"""Python files that the user names himself: the only code from outside that is ever run.

`run_file` runs one. What differs is where things that it registers go: definitions for the whole
program stay (`import_file`, ``--ops``), converters of one load do not (``--layer``, which collects
them while `run_file` runs), and Keras classes are handed on (`definitions`, ``--objects``).
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from segrt.errors import SegrtError, UsageError


def run_file(path: Path, *, stays: bool = False) -> ModuleType:
    """Run a Python file of the user's and return its module; its own exceptions pass through.

    Only ever to be called with what the user named himself.

    Args:
        path: The file; what lies beside it can be imported.
        stays: Keep it among the imported modules.

    Raises:
        UsageError: There is no such file, or it is no Python file.
    """
    if not path.is_file():
        raise UsageError(f"no such file: {path}", hint="check the path")
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file", wanted="a file that ends with .py")
    module = importlib.util.module_from_spec(spec)
    folder, before = str(path.parent.resolve()), sys.modules.get(name)
    # Decorators such as dataclass look the module up while it runs; files import neighbours.
    sys.modules[name] = module
    sys.path.insert(0, folder)
    finished = False
    try:
        spec.loader.exec_module(module)
        finished = True
    finally:
        sys.path.remove(folder)
        if not (finished and stays):
            del sys.modules[name]
            if before is not None:
                sys.modules[name] = before
    return module


def import_file(path: Path) -> ModuleType:
    """Import a Python file of the user's, once; what it registers is there from then on.

    Raises:
        UsageError: It cannot be imported.
    """
    # The same file once more, named by another option, defines nothing new.
    present = sys.modules.get(_module_name(path))
    if present is not None:
        return present
    try:
        return run_file(path, stays=True)
    except SegrtError:
        raise
    except Exception as error:
        raise UsageError(
            f"{path} cannot be imported", found=f"{type(error).__name__}: {error}"
        ) from error


def definitions(path: Path) -> dict[str, Any]:
    """Import a file and return the classes and functions that it defines, by name.

    Raises:
        UsageError: It cannot be imported, or defines none.
    """
    module = import_file(path)
    found = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }
    if not found:
        raise UsageError(f"{path} defines no classes and no functions")
    return found


def _module_name(path: Path) -> str:
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    return f"segrt_user_{path.stem}_{digest}"
