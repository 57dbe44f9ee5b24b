"""Import of libraries that may be absent, with an error that says what to install."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from segrt.errors import UnavailableError


def is_installed(name: str) -> bool:
    """Say whether the module ``name`` could be imported, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def require(name: str, *, purpose: str, install: str) -> ModuleType:
    """Import the module ``name``.

    Args:
        name: Dotted module name.
        purpose: What it is needed for, as in "the OpenVINO target".
        install: The command that installs it.

    Raises:
        UnavailableError: It is not installed, or its own import fails.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnavailableError(
            f"{purpose} needs the Python package that provides {name!r}",
            found=str(error),
            hint=f"run: {install}",
        ) from error
